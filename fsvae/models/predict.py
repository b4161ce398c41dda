"""Networks over whole histories: one-pass predictions for evaluation, and the states from which serving continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, Chunks, anchor, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.memory.rows import Memory, MemoryRows
from fsvae.memory.supports import Supports, remember
from fsvae.models.base import Network
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAENetwork
from fsvae.predictions import Predictions

_CHUNKS = 64


class NetworkPredictor:
    """A trained network as a `fsvae.predictions.Predictor`; each listen is run through it at most twice."""

    def __init__(self, network: Network, refreshed_at: Sequence[int] = (), validation_learned: bool = False) -> None:
        """Wrap a trained network.

        Args:
            network: the network.
            refreshed_at: times [us] after the training period at which everybody's memory is brought up to date; by
                default it stays as it was at the end of that period.
            validation_learned: whether the network has learned from the validation period too: for listens of the test
                period, everybody's memory is that of `Dataset.with_validation_learned`.
        """
        self.name = network.name
        self.network = network.cpu().eval()
        self.refreshed_at = refreshed_at
        self.validation_learned = validation_learned

    def refreshed(self, times: Sequence[int]) -> NetworkPredictor:
        """Return the same network, as `<name>, live`, with everybody's memory brought up to date at some times [us]."""
        live = NetworkPredictor(self.network, times, self.validation_learned)
        live.name = f"{self.name}, live"
        return live

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the network's track space."""
        if not self.network.has_memory:
            for batch in one_pass(self._batcher(dataset, begin_us, end_us), self.network.n_scored):
                yield self.network.predictions(batch)
            return
        if self.validation_learned and begin_us >= dataset.period("test")[0]:
            dataset = dataset.with_validation_learned()
        remembered = remember(dataset, self.refreshed_at, tables_from=begin_us)
        for begin, end, tables in remembered.segments(begin_us, end_us):
            memory = Memory(dataset.listens, tables)
            for batch in one_pass(self._batcher(dataset, begin, end, remembered.supports), tables.n_tracks):
                yield self.network.predictions(batch, MemoryRows(memory, batch.listen_BT[batch.target_BT].numpy()))

    def _batcher(self, dataset: Dataset, begin_us: int, end_us: int, memory: Supports | None = None) -> Batcher:
        chunks = evaluation_chunks(dataset.listens, begin_us, end_us, self.network.history)
        return Batcher(dataset, chunks, catalogue_targets_only=False, memory=memory)


@dataclass(frozen=True)
class UserStates:
    """The fast states of U users after all of their listens."""

    n_listens: NDArray[np.int64]
    """[U] number of listens."""
    current: State
    """h and c [layers, U, H] from the anchor of the next listen."""
    following: State
    """h and c [layers, U, H] from the anchor after it: zero unless the user has listens after that anchor."""


@torch.inference_mode()
def user_states(model: FSVAENetwork, dataset: Dataset) -> UserStates:
    """Return every user's two fast states; the dataset must be in the model's track space."""
    listens, history = dataset.listens, model.config.history
    n = np.diff(listens.offsets)
    current = anchor(n, history)
    return UserStates(
        n_listens=n,
        current=_run_from(model, dataset, current),
        following=_run_from(model, dataset, np.minimum(current + history, n)),
    )


def _run_from(model: FSVAENetwork, dataset: Dataset, begin: NDArray[np.int64]) -> State:
    """Return the states [layers, U, H] after each user's listens from the `begin`-th on."""
    offsets = dataset.listens.offsets
    chunks = Chunks(offsets[:-1] + begin, np.diff(offsets) - begin, np.zeros(len(begin), dtype=np.int64))
    batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
    h, c = model.fast.zero_state(len(begin))
    h, c = h.clone(), c.clone()
    for length in np.unique(chunks.length[chunks.length > 0]):  # equal lengths need no packing
        users = np.flatnonzero(chunks.length == length)
        for i in range(0, len(users), _CHUNKS):
            rows = users[i : i + _CHUNKS]
            batch = batcher[rows]
            _, (h_rows, c_rows) = model.fast.lstm(model.listen_inputs(batch.track_BT, batch.features_BTF))
            h[:, rows], c[:, rows] = h_rows, c_rows
    return h, c
