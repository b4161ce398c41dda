"""Metrics of single predictions, vectorised: distances in the track space and ranks among all tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MISS = np.iinfo(np.int64).max
"""Rank of a target that could not be recommended, as nobody had listened to it before."""


def l2_distance(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean distance of each row pair, [N]."""
    return np.asarray(np.linalg.norm(predicted.astype(np.float64) - actual, axis=1), dtype=np.float64)


def cosine_distance(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 1 - cosine similarity of each row pair, [N]; a zero vector is at distance 1 from everything."""
    dot = np.einsum("nd,nd->n", predicted.astype(np.float64), actual)
    norms = np.linalg.norm(predicted.astype(np.float64), axis=1) * np.linalg.norm(actual.astype(np.float64), axis=1)
    return np.where(norms > 0, 1 - dot / np.maximum(norms, 1e-300), 1.0)


def pessimistic_ranks(scores: NDArray[np.float32], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank (from 1) of each target among its row of scores; ties and NaN count against the target.

    Args:
        scores: [N, T]; -inf for tracks that are no candidates, which a target is.
        target: [N] column of each target.
    """
    of_target = scores[np.arange(len(target)), target]
    # Row by row: the result of a comparison stays in the cache, where counting is several times faster.
    worse_N = [np.count_nonzero(row < score) for row, score in zip(scores, of_target, strict=True)]
    return np.asarray(scores.shape[1] - np.array(worse_N), dtype=np.int64)


def recall(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return 1 where the target is among the first k, else 0; with one target this is also the hit rate."""
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return 1 / log2(1 + rank) where the target is among the first k, else 0 (one target: the ideal is 1)."""
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + np.minimum(ranks, k)), 0.0)


def reciprocal_rank(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 / rank, and 0 for a miss."""
    return np.where(ranks == MISS, 0.0, 1.0 / ranks)
