"""The last fit of the gates: on listens that the network has not learned from.

A network knows the listens that it was trained on better than any other, and gates that are trained with it believe it
as far as it deserves there, which is too far. On later listens they learn what each expert and it are worth.

Legend: N listens, Z latent, Q request features, V tracks with a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fsvae.data.dataset import Dataset
from fsvae.memory.gates import MemoryGates
from fsvae.memory.supports import Remembered, Supports
from fsvae.models.fsvae import LEAST_P, FSVAENetwork
from fsvae.models.later_listens import later_listens
from fsvae.models.short_fit import short_fit

_STEPS = 300
_MOST_EPOCHS = 10
_BATCH = 1024
_LEARNING_RATE = 5e-4
"""Low, as the gates are right but for how far the network is believed."""


def fit_gates(
    network: FSVAENetwork, dataset: Dataset, remembered: Remembered, begin_us: int, end_us: int, seed: int
) -> None:
    """Fit the gates of a network, starting from what they are, on listens in [begin_us, end_us).

    Args:
        network: a network whose other weights are trained; they stay, and it is left on the CPU in evaluation mode.
        dataset: the dataset it was trained on.
        remembered: what the memory held before each listen.
        begin_us: time [us] from which on the network has learned from no listen.
        end_us: time [us] before which listens are taken.
        seed: seed of the draw of chunks and of the order.
    """
    assert network.gates is not None
    network.cpu().eval()
    latents, requests, listens, of_network = [], [], [], []
    for batch, _ in later_listens(dataset, remembered, begin_us, end_us, network.history, seed):
        with torch.inference_mode():
            assert batch.memory is not None
            prediction = network(batch)
            latents.append(prediction.posterior.mean)
            requests.append(batch.request_BTR[batch.target_BT])
            listens.append(batch.listen_BT[batch.target_BT])
            of_network.append(network.softmax_of(prediction, batch.track_BT[batch.target_BT], batch.memory))
    if listens:
        parts = (torch.cat(part).clone() for part in (latents, requests, of_network, listens))
        _fit(network.gates, remembered.supports, seed, *parts)


def _fit(
    gates: MemoryGates,
    supports: Supports,
    seed: int,
    z_NZ: Tensor,
    request_NQ: Tensor,
    of_network_N: Tensor,
    listen_N: Tensor,
) -> None:
    """Train the gates to give each listen's own track, of which the network's probability is known, a high p."""

    def loss_of(rows: Tensor) -> Tensor:
        held = supports.at(listen_N[rows])
        found = gates(z_NZ[rows], request_NQ[rows], held)
        p_N: Tensor = found.of_target(held) + found.rest_N * of_network_N[rows]
        return -p_N.clamp(min=LEAST_P).log().mean()

    short_fit(
        gates,
        len(listen_N),
        loss_of,
        seed,
        steps=_STEPS,
        most_epochs=_MOST_EPOCHS,
        batch=_BATCH,
        learning_rate=_LEARNING_RATE,
        weight_decay=0.0,
    )
