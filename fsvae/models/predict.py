"""Networks over whole histories: one-pass predictions for evaluation, and the states from which serving continues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, Chunks, anchor, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.data.listens import in_runs, offsets_of
from fsvae.features.fast import listen_features
from fsvae.models.base import Network
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.online_state import Ring
from fsvae.predictions import Predictions

_CHUNKS = 64


class NetworkPredictor:
    """A trained network as a `fsvae.predictions.Predictor`; each listen is run through it at most twice."""

    def __init__(self, network: Network) -> None:
        """Wrap a trained network."""
        self.name = network.name
        self.network = network.cpu().eval()

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the network's track space."""
        chunks = evaluation_chunks(dataset.listens, begin_us, end_us, self.network.history)
        batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
        for batch in one_pass(batcher, self.network.n_scored):
            yield self.network.predictions(batch)


@dataclass(frozen=True)
class UserStates:
    """The fast states of U users after all of their listens."""

    n_listens: NDArray[np.int64]
    """[U] number of listens."""
    current: State
    """h and c [layers, U, H] from the anchor of the next listen."""
    following: State
    """h and c [layers, U, H] from the anchor after it: zero unless the user has listens after that anchor."""
    rings: Rings
    """Listens that a repeat head reads; all empty for a model without one."""


@dataclass(frozen=True)
class Rings:
    """The `online_state.Ring` of U users, user after user."""

    offsets: NDArray[np.int64]
    """[U + 1] index at which each user's listens begin, and the end."""
    track: NDArray[np.int64]
    """[R] track index."""
    features: NDArray[np.float32]
    """[R, F] `fast.LISTEN_FEATURES`."""

    def of(self, user: int) -> Ring:
        """Return a user's ring."""
        span = slice(self.offsets[user], self.offsets[user + 1])
        return Ring(torch.from_numpy(self.track[span].copy()), torch.from_numpy(self.features[span].copy()))


@torch.inference_mode()
def user_states(model: FSVAENetwork, dataset: Dataset) -> UserStates:
    """Return every user's two fast states and ring; the dataset must be in the model's track space."""
    listens, history = dataset.listens, model.config.history
    n = np.diff(listens.offsets)
    current = anchor(n, history)
    return UserStates(
        n_listens=n,
        current=_run_from(model, dataset, current),
        following=_run_from(model, dataset, np.minimum(current + history, n)),
        rings=_rings(dataset, current if model.repeat_head is not None else n),
    )


def _rings(dataset: Dataset, begin: NDArray[np.int64]) -> Rings:
    """Return each user's listens from the `begin`-th on."""
    listens = dataset.listens
    sizes = np.diff(listens.offsets) - begin
    flat = in_runs(listens.offsets[:-1] + begin, sizes)
    return Rings(
        offsets_of(sizes),
        listens.track[flat].astype(np.int64),
        listen_features(listens.played_at[flat], listens.previous_at[flat], listens.played_fraction[flat]),
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
