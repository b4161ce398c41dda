"""Audio embeddings mapped into the track space by ridge regression, and the quality of the map on held-out tracks.

Following van den Oord, Dieleman and Schrauwen ("Deep content-based music recommendation", NIPS 2013), the map from
sound to co-listening is learned on tracks with enough listens and used on those without.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_HELD_OUT_EVERY = 5
"""Interval of the held-out tracks: each fifth chooses the penalty and compares the map with other imputations."""
_PENALTIES = np.logspace(-4, 2, 7)
"""Candidate penalties, relative to the mean variance of the embedding's principal axes."""

EmbeddingMap = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Linear map from embeddings to track vectors, not of length 1: [n, E] → [n, D]."""


def held_out(n: int) -> NDArray[np.bool_]:
    """Return which of n tracks are held out, [n]; catalogues are in order of listens, so they cover all its range."""
    return np.asarray(np.arange(n) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1)


def fit_embedding_map(
    embeddings: NDArray[np.float32], vectors: NDArray[np.float32]
) -> tuple[EmbeddingMap, NDArray[np.float64]]:
    """Fit the map on tracks that have both, with the penalty that is best on the held-out tracks.

    Args:
        embeddings: [n, E] finite, n at least 5.
        vectors: [n, D] unit vectors of the same tracks.

    Returns:
        The map, fitted on all n, and the cosine similarities of the held-out tracks' vectors with the output of a map
        fitted on the others, [sum(held_out(n))].
    """
    held = held_out(len(vectors))
    candidates = [_fit(embeddings[~held], vectors[~held], penalty) for penalty in _PENALTIES]
    likeness = [cosine(candidate(embeddings[held]), vectors[held]) for candidate in candidates]
    best = int(np.argmax([values.mean() for values in likeness]))
    return _fit(embeddings, vectors, _PENALTIES[best]), likeness[best]


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine similarity of each row pair, [n]; 0 for a row of zeros."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("nd,nd->n", a, b) / np.maximum(norms, 1e-12), dtype=np.float64)


def _fit(embeddings: NDArray[np.float32], vectors: NDArray[np.float32], penalty: float) -> EmbeddingMap:
    from sklearn.linear_model import Ridge  # takes a second to import

    x = embeddings.astype(np.float64)
    scale = len(x) * float(x.var(axis=0).sum()) / min(x.shape)
    fitted = Ridge(alpha=penalty * max(scale, 1e-12)).fit(x, vectors.astype(np.float64))
    return lambda wanted: fitted.predict(wanted.astype(np.float64)).reshape(len(wanted), vectors.shape[1])
