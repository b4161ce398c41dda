"""The fit of the ranker, once the rest of a network is trained.

Legend: N listens, K candidates, F features of a candidate, S inputs of the gates, V tracks with a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fsvae.data.dataset import Dataset
from fsvae.memory.ranker import LEAST, Ranker
from fsvae.memory.rows import Memory, MemoryRows
from fsvae.memory.supports import Remembered
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.later_listens import later_listens
from fsvae.models.short_fit import short_fit

_STEPS = 1000
_MOST_EPOCHS = 6
_BATCH = 256
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-3


def fit_ranker(
    network: FSVAENetwork, dataset: Dataset, remembered: Remembered, begin_us: int, end_us: int, seed: int
) -> None:
    """Fit the ranker of a network on listens in [begin_us, end_us), with the candidates that evaluation would find.

    A listen whose track is not among the candidates teaches the ranker nothing.

    Args:
        network: a network whose other weights are trained; they stay, and it is left on the CPU in evaluation mode.
        dataset: the dataset it was trained on.
        remembered: what the memory held before each listen, with everybody's counts from `begin_us` on.
        begin_us: time [us] from which on listens are taken.
        end_us: time [us] before which they are taken.
        seed: seed of the draw of chunks and of the order.
    """
    assert network.ranker is not None
    network.cpu().eval()
    memory: Memory | None = None
    features, situations, places = [], [], []
    for batch, tables in later_listens(dataset, remembered, begin_us, end_us, network.history, seed):
        if memory is None or memory.tables is not tables:
            memory = Memory(dataset.listens, tables)
        rows = MemoryRows(memory, batch.listen_BT[batch.target_BT].numpy())
        # What nobody has heard yet may have learned its vector from its later listens; when evaluated, it has none.
        new_V = torch.from_numpy(~tables.heard[: len(dataset.vectors)])
        with torch.inference_mode():
            prediction = network(batch)
            assert prediction.gates is not None and batch.memory is not None
            found = network.shortlist(network.mixture(prediction, rows, new_V), batch.memory, rows)
        is_target_NK = (found.track_NK == batch.track_BT[batch.target_BT][:, None]) & (found.p_NK > LEAST)
        among = is_target_NK.any(dim=1)
        features.append(found.features_NKF[among].half())
        situations.append(prediction.gates.inputs_NS[among])
        places.append(is_target_NK[among].int().argmax(dim=1))
    if sum(map(len, places)):
        _fit(network.ranker, torch.cat(features), torch.cat(situations), torch.cat(places), seed)


def _fit(ranker: Ranker, features_NKF: Tensor, situation_NS: Tensor, place_N: Tensor, seed: int) -> None:
    """Train a ranker to find each listen's own track, the candidate at `place_N`, by softmax cross-entropy."""
    ranker.normalise(features_NKF[:: max(1, len(features_NKF) // 2000)].float())

    def loss_of(rows: Tensor) -> Tensor:
        return cross_entropy(ranker(features_NKF[rows].float(), situation_NS[rows]), place_N[rows])

    short_fit(
        ranker,
        len(place_N),
        loss_of,
        seed,
        steps=_STEPS,
        most_epochs=_MOST_EPOCHS,
        batch=_BATCH,
        learning_rate=_LEARNING_RATE,
        weight_decay=_WEIGHT_DECAY,
    )
