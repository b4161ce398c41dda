"""Search of the tracks nearest to a query in the track space, exact unless the catalogue is very large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsvae.errors import UserError

_HNSW_LINKS = 32
_HNSW_BREADTH = 128


class TrackIndex:
    """An index that finds the tracks nearest to a query; with unit vectors, cosine, L2 and dot product agree."""

    def __init__(self, vectors: NDArray[np.float32], approximate_from: int | None = None) -> None:
        """Index [C, D] unit vectors: exact search, or HNSW (Malkov and Yashunin, 2018) from a number of tracks on.

        Raises:
            UserError: the catalogue has that many tracks and faiss is not installed.
        """
        self._vectors = vectors
        self._graph: Any = None
        if approximate_from is not None and len(vectors) >= approximate_from:
            try:
                import faiss
            except ImportError as error:
                raise UserError(
                    f"The catalogue has {len(vectors):,} tracks; from serve.approximate_from={approximate_from:,} on "
                    "it is searched with faiss: pip install 'fsvae[ann]', or set serve.approximate_from higher."
                ) from error
            self._graph = faiss.IndexHNSWFlat(vectors.shape[1], _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
            self._graph.hnsw.efSearch = _HNSW_BREADTH
            self._graph.add(vectors)

    def nearest(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k tracks nearest to a query [D] and their cosine similarities, best first; ties by track index.

        At most C are returned; an approximate search may return fewer.
        """
        unit = query / max(float(np.linalg.norm(query)), 1e-12)
        if self._graph is None:
            return highest(self._vectors @ unit, k)
        _, found = self._graph.search(unit[None], min(k, len(self._vectors)))
        candidates = np.sort(found[0][found[0] >= 0])
        best, scores = highest(self._vectors[candidates] @ unit, k)
        return candidates[best].astype(np.int64), scores


def highest(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the indices of the k highest of some scores [C], and these scores, best first; ties by index."""
    k = min(k, len(scores))
    worst = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
    candidates = np.flatnonzero(scores >= worst)
    best = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return best.astype(np.int64), scores[best].astype(np.float32)
