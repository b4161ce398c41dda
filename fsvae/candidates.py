"""The candidates of a recommendation: each track that anybody has listened to before, for all models alike.

Shape suffixes: N requests, T tracks of the dataset, V tracks with a vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.predictions import Predictions

UNSCORED = np.finfo(np.float32).min
"""Score of a candidate to which a model gives none: below every other."""


class Candidates:
    """The tracks of a dataset that can be recommended at a time."""

    def __init__(self, dataset: Dataset) -> None:
        """Order the tracks by the time at which they are heard first."""
        self._vectors_VD = dataset.vectors
        self._order_T = np.argsort(dataset.first_heard_at, kind="stable")
        self._ascending_T = dataset.first_heard_at[self._order_T]

    def count(self, at_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of candidates at each time [us], [N]."""
        return np.searchsorted(self._ascending_T, at_N, side="left")

    def scores(self, predictions: Predictions, at_N: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of all tracks for requests at some times [us], [N, T]: -inf for those that are none.

        A candidate that the model does not score is UNSCORED. Where the model ranks by nearness to a point, scores are
        the cosines of the tracks with a vector.
        """
        scores_NT = np.empty((len(at_N), len(self._order_T)), dtype=np.float32)
        if predictions.scores is not None:
            n_scored = predictions.scores.shape[1]
            np.maximum(predictions.scores, UNSCORED, out=scores_NT[:, :n_scored])
        else:
            n_scored = len(self._vectors_VD)
            point_ND = predictions.vectors if predictions.queries is None else predictions.queries
            unit_ND = point_ND / np.maximum(np.linalg.norm(point_ND, axis=1, keepdims=True), 1e-12)
            np.matmul(unit_ND, self._vectors_VD.T, out=scores_NT[:, :n_scored])
        scores_NT[:, n_scored:] = UNSCORED
        for scores_T, count in zip(scores_NT, self.count(at_N), strict=True):
            scores_T[self._order_T[count:]] = -np.inf
        return scores_NT
