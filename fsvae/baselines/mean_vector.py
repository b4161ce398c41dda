"""Average and Aggregate sequence (paper, section 4.2) and Last track: the mean of all, or of the latest, listens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fsvae.baselines.popularity import popular_point
from fsvae.baselines.settings import AggregateSequenceConfig, NoSettings
from fsvae.data.dataset import Dataset
from fsvae.data.history import blocks
from fsvae.predictions import Predictions
from fsvae.recommender import Recommender

_ROWS_AT_ONCE = 2048


class _MeanOfListens(Recommender):
    name: str
    _window: int | None

    def _fit(self, dataset: Dataset) -> None:
        """Learn the point to predict for users without a listen."""
        self._fallback = popular_point(dataset)

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict the mean of the listens before each position; tracks without a vector do not count."""
        listens = dataset.listens
        for targets in blocks(listens.between(begin_us, end_us), dataset.n_tracks, _ROWS_AT_ONCE):
            points = np.empty((len(targets), dataset.vectors.shape[1]), dtype=np.float32)
            user_of = listens.user[targets]
            for user in np.unique(user_of):
                own, begin = user_of == user, listens.offsets[user]
                wanted = targets[own] - begin
                points[own] = self._means(listens.track[begin : begin + wanted[-1] + 1], dataset.vectors)[wanted]
            yield Predictions(targets, points)

    def _means(self, track: NDArray[np.int32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the prediction before each of a user's listens, [n, D]."""
        has_vector = track < len(vectors)
        known = np.where(has_vector, track, 0)
        sums = np.zeros((len(track) + 1, vectors.shape[1]))
        np.cumsum(vectors[known] * has_vector[:, None], axis=0, out=sums[1:])
        counts = np.concatenate([[0], np.cumsum(has_vector)])
        here = np.arange(len(track))
        since = np.zeros_like(here) if self._window is None else np.maximum(here - self._window, 0)
        n = counts[here] - counts[since]
        means = (sums[here] - sums[since]) / np.maximum(n, 1)[:, None]
        return np.where(n[:, None] > 0, means, self._fallback).astype(np.float32)


class Average(_MeanOfListens):
    """The mean of all past listens: a long-term taste."""

    name = "Average"
    _window = None

    def __init__(self, config: NoSettings | None = None) -> None:
        """Take the config."""


class AggregateSequence(_MeanOfListens):
    """The mean of the latest listens: a short-term mood."""

    name = "Aggregate sequence"

    def __init__(self, config: AggregateSequenceConfig | None = None) -> None:
        """Average as many listens as a config says."""
        self._window = (config or AggregateSequenceConfig()).window


class LastTrack(_MeanOfListens):
    """The last track itself; its nearest neighbours are recommended, itself first: repeats stay in."""

    name = "Last track"
    _window = 1

    def __init__(self, config: NoSettings | None = None) -> None:
        """Take the config."""
