"""Popularity: the same answer for everyone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import PreparedDataset
from fsvae.recommender import Predictions


def popular_point(dataset: PreparedDataset) -> NDArray[np.float32]:
    """Return the mean vector of all training listens, [D]: the constant with the least squared distance to them."""
    counts = dataset.tracks["train_count"].to_numpy()[: dataset.n_catalogue].astype(np.float64)
    return np.asarray(counts @ dataset.vectors[: dataset.n_catalogue] / counts.sum(), dtype=np.float32)


class Popularity:
    """Ranks by listens in the training period; its point is the mean of all training listens."""

    name = "Popularity"

    def fit(self, dataset: PreparedDataset) -> None:
        """Count."""
        self._scores = dataset.tracks["train_count"].to_numpy()[: dataset.n_catalogue].astype(np.float32)
        self._point = popular_point(dataset)

    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict the same for every position."""
        played_at = dataset.listens.played_at
        targets = np.flatnonzero((played_at >= begin_us) & (played_at < end_us))
        vectors = np.broadcast_to(self._point, (len(targets), len(self._point)))
        yield Predictions(targets, vectors, scores=self._scores[None])
