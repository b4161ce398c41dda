"""From a predicted point to tracks: exact nearest neighbours in the track space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest_tracks(
    point: NDArray[np.float32], vectors: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k tracks nearest to a point and their cosine similarities, best first; ties by track index.

    Args:
        point: [D].
        vectors: [C, D] unit vectors, for which nearest by cosine, by L2 and by dot product are the same.
        k: how many; at most C are returned.
    """
    scores = vectors @ (point / max(float(np.linalg.norm(point)), 1e-12))
    k = min(k, len(scores))
    if k < len(scores):
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= worst)
    else:
        candidates = np.arange(len(scores))
    best = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    return best, scores[best].astype(np.float32)
