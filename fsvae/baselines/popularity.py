"""Popularity, over the whole training period or weighted to its end: the same answer for everyone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fsvae.baselines.settings import NoSettings, RecentPopularityConfig
from fsvae.data.dataset import Dataset
from fsvae.evaluation.lists import train_counts
from fsvae.features.clock import DAY_US
from fsvae.predictions import Predictions
from fsvae.recommender import Recommender


def popular_point(dataset: Dataset) -> NDArray[np.float32]:
    """Return the mean vector of all training listens, [D]: the constant with the least squared distance to them."""
    return _mean_vector(train_counts(dataset).astype(np.float64), dataset)


def _mean_vector(weights: NDArray[np.float64], dataset: Dataset) -> NDArray[np.float32]:
    vectors = dataset.vectors  # the other tracks count as zero vectors
    return np.asarray(weights[: len(vectors)] @ vectors / weights.sum(), dtype=np.float32)


class _Constant(Recommender):
    """A baseline that ranks by one fixed weight for each track; its point is the weighted mean of their vectors."""

    @abstractmethod
    def _weights(self, dataset: Dataset) -> NDArray[np.float64]:
        """Return the weight of each track, [T]."""

    def _fit(self, dataset: Dataset) -> None:
        """Set the weights and the point."""
        weights = self._weights(dataset)
        self._scores, self._point = (weights / weights.sum()).astype(np.float32), _mean_vector(weights, dataset)

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict the same for every position."""
        targets = dataset.listens.between(begin_us, end_us)
        vectors = np.broadcast_to(self._point, (len(targets), len(self._point)))
        yield Predictions(targets, vectors, scores=self._scores[None], normalised=True)


class Popularity(_Constant):
    """A baseline that ranks by listens in the training period; its point is the mean of all training listens."""

    name = "Popularity"

    def __init__(self, config: NoSettings | None = None) -> None:
        """Take the config."""

    def _weights(self, dataset: Dataset) -> NDArray[np.float64]:
        return train_counts(dataset).astype(np.float64)


class RecentPopularity(_Constant):
    """A baseline that ranks by listens in the training period, the later ones counting more.

    It is frozen when training ends, as every model of the comparison is. It does not see listens of the validation and
    test periods, so its counts are at least as old as the validation period is long.
    """

    name = "Recent popularity"

    def __init__(self, config: RecentPopularityConfig | None = None) -> None:
        """Take the config."""
        self._half_life_us = (config or RecentPopularityConfig()).half_life_days * DAY_US

    def _weights(self, dataset: Dataset) -> NDArray[np.float64]:
        listens = dataset.listens
        counted = dataset.targets("train")
        played_at = listens.played_at[counted]
        # ages count from the last training listen, not the period's end: the weights differ by a factor that could be 0
        weights = 0.5 ** ((played_at.max() - played_at) / self._half_life_us)
        sums = np.bincount(listens.track[counted], weights, minlength=dataset.n_tracks)
        return np.asarray(sums, dtype=np.float64)
