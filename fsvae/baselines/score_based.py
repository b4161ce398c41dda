"""The common code of baselines that score tracks: sparse scores become ranks and a point of the track space.

A row of scores, divided by its sum, is taken as the distribution of the next track. The point is its mean vector,
which has the least expected squared distance to the next track. A small share of popularity is mixed in: it orders
tracks of equal score, those without a score included. Where a model gives no score at all (nothing was heard before),
popularity is the whole answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from math import ceil

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.data.history import Occurrences, blocks
from fsvae.evaluation.lists import train_counts
from fsvae.predictions import Predictions
from fsvae.recommender import Recommender

POPULARITY_SHARE = 1e-3
"""Popularity's share of a prediction. On the validation period of #nowplaying, where most counts are 1, it lifts
Recall@10 of the global chain from .114 (without ties broken) to .130; on that of Last.fm from .472 to .477."""

_HALF_LIVES = 10
"""Number of half-lives after which an occurrence is left out: its weight is below 0.001."""
_PAIRS_AT_ONCE = 1 << 20
"""Number of earlier occurrences that are read together, a hundred bytes each."""

Score = Callable[[NDArray[np.int64]], sp.csr_array]
"""Function from flat positions [N] to scores of all tracks of a dataset [N, T], none below 0."""


class ScoreBasedBaseline(Recommender):
    """A baseline that scores tracks from what came before each position."""

    rows_at_once = 2048
    """Number of positions that are scored at once; fewer where there are many tracks."""

    def _fit(self, dataset: Dataset) -> None:
        """Learn from the training period."""
        counts = train_counts(dataset)
        self._popularity = counts / counts.sum()
        self._learn(dataset)

    @abstractmethod
    def _learn(self, dataset: Dataset) -> None:
        """Learn the model's own statistics from the training period."""

    @abstractmethod
    def _scorer(self, dataset: Dataset) -> Score:
        """Return the function that scores positions of a dataset from the listens before them."""

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in [begin_us, end_us)."""
        score = self._scorer(dataset)
        vectors, n_tracks = dataset.vectors.astype(np.float64), dataset.n_tracks
        n_vectors = len(vectors)  # the other tracks count as zero vectors
        popularity = np.pad(self._popularity, (0, n_tracks - len(self._popularity)))
        popular_point = popularity[:n_vectors] @ vectors
        for targets in blocks(dataset.listens.between(begin_us, end_us), n_tracks, self.rows_at_once):
            share = rows_to_one(score(targets)) * (1 - POPULARITY_SHARE)
            empty = np.diff(share.indptr) == 0
            points = share[:, :n_vectors] @ vectors + POPULARITY_SHARE * popular_point
            points[empty] = popular_point
            scores = share.astype(np.float32).toarray()
            scores += (POPULARITY_SHARE * popularity).astype(np.float32)
            scores[empty] = popularity
            yield Predictions(targets, points.astype(np.float32), scores=scores, normalised=True)


def sparse(
    row: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.float64], shape: tuple[int, int]
) -> sp.csr_array:
    """Return a sparse matrix; values at the same place are summed, columns past its width left out."""
    inside = column < shape[1]
    return sp.csr_array((value[inside], (row[inside], column[inside])), shape=shape)


def decayed_counts(
    occurrences: Occurrences,
    targets: NDArray[np.int64],
    track: NDArray[np.int64],
    half_life: float,
    n_tracks: int,
) -> sp.csr_array:
    """Return how often each track was heard where the key of each target occurred before, [N, T].

    Args:
        occurrences: index of the key.
        targets: [N] flat positions.
        track: the track of every position.
        half_life: number of later occurrences after which an occurrence counts half.
        n_tracks: T, the number of tracks.
    """
    at_most = ceil(_HALF_LIVES * half_life)
    rows = max(1, _PAIRS_AT_ONCE // at_most)
    parts = []
    for i in range(0, max(len(targets), 1), rows):
        part = targets[i : i + rows]
        earlier = occurrences.before(part, at_most)
        weight = 0.5 ** (earlier.age / half_life)
        parts.append(sparse(earlier.row, track[earlier.position], weight, (len(part), n_tracks)))
    return sp.csr_array(sp.vstack(parts))


def widened(matrix: sp.csr_array, n_tracks: int) -> sp.csr_array:
    """Return a matrix with empty columns for the tracks that a model's own dataset lacks, [N, T]."""
    return sp.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], n_tracks))


def rows_to_one(counts: sp.csr_array, shrinkage: float = 0.0) -> sp.csr_array:
    """Return the rows divided by (their sum + shrinkage); a row of zeros is empty."""
    total = counts.sum(axis=1)
    weight = np.divide(1.0, total + shrinkage, out=np.zeros_like(total), where=total > 0)
    scaled = sp.csr_array(sp.diags_array(weight) @ counts)
    scaled.eliminate_zeros()
    return scaled


def first_of_rows(matrix: sp.csr_array, k: int) -> sp.csr_array:
    """Return a matrix with only the k leftmost entries of each row."""
    matrix.sort_indices()
    return _kept(matrix, _rank(matrix) < k)


def largest_of_rows(matrix: sp.csr_array, k: int) -> sp.csr_array:
    """Return a matrix with only the k largest entries of each row; of equal ones the leftmost."""
    matrix.sort_indices()
    order = np.lexsort((-matrix.data, _row(matrix)))
    keep = np.empty(len(order), dtype=np.bool_)
    keep[order] = _rank(matrix) < k
    return _kept(matrix, keep)


def _row(matrix: sp.csr_array) -> NDArray[np.int64]:
    return np.asarray(np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), dtype=np.int64)


def _rank(matrix: sp.csr_array) -> NDArray[np.int64]:
    """Return how many entries of the same row come before each entry."""
    first = np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
    return np.asarray(np.arange(matrix.nnz) - first, dtype=np.int64)


def _kept(matrix: sp.csr_array, keep: NDArray[np.bool_]) -> sp.csr_array:
    return sp.csr_array((matrix.data[keep], (_row(matrix)[keep], matrix.indices[keep])), shape=matrix.shape)
