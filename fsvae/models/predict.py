"""FS-VAE over whole histories: one-pass predictions for evaluation, and the states that serving goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.chunks import Batcher, Chunks, OrderedBatches, anchor, evaluation_chunks
from fsvae.data.dataset import PreparedDataset
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAE
from fsvae.recommender import Predictions

_CHUNKS = 64


class FSVAERecommender:
    """A trained FS-VAE behind the `Recommender` protocol; each listen is run through the LSTM at most twice."""

    name = "FS-VAE"

    def __init__(self, model: FSVAE) -> None:
        """Wrap a trained model."""
        self._model = model.eval()

    def fit(self, dataset: PreparedDataset) -> None:
        """Do nothing: the model comes trained."""

    @torch.inference_mode()
    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the model's track space.

        The uncertainty is the mean standard deviation of the latent posterior, as in serving.
        """
        chunks = evaluation_chunks(dataset.listens, begin_us, end_us, self._model.config.history)
        batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
        for rows in OrderedBatches(chunks.length, _CHUNKS):
            batch = batcher[rows]
            prediction = self._model(batch)
            log_variance_NZ = prediction.posterior.log_variance
            yield Predictions(
                batch.listen_BT[batch.target_BT].numpy(),
                prediction.y_ND.numpy(),
                prediction.query_ND.numpy(),
                uncertainty=None if log_variance_NZ is None else torch.exp(0.5 * log_variance_NZ).mean(dim=-1).numpy(),
            )


@dataclass(frozen=True)
class UserStates:
    """The fast states of U users behind all of their listens."""

    n_listens: NDArray[np.int64]
    """[U]"""
    current: State
    """h and c [layers, U, H] from the anchor of the next listen."""
    following: State
    """Likewise from the anchor after it: zero unless the user has listened past that one."""


@torch.inference_mode()
def user_states(model: FSVAE, dataset: PreparedDataset) -> UserStates:
    """Return every user's two fast states; the dataset must be in the model's track space."""
    listens, history = dataset.listens, model.config.history
    n = np.diff(listens.offsets)
    current = anchor(n, history)
    return UserStates(
        n_listens=n,
        current=_run_from(model, dataset, current),
        following=_run_from(model, dataset, np.minimum(current + history, n)),
    )


def _run_from(model: FSVAE, dataset: PreparedDataset, begin: NDArray[np.int64]) -> State:
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
