"""Audio embeddings mapped into the track space by ridge regression, and how well that does on tracks held out.

The idea is that of van den Oord, Dieleman and Schrauwen ("Deep content-based music recommendation", NIPS 2013): learn
what co-listening says of a track from its sound, where there is enough listening, and use it where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HELD_OUT_EVERY = 5
"""Each fifth track is held out to choose the penalty and to compare with other ways to a vector."""
_PENALTIES = np.logspace(-4, 2, 7)
"""Candidates, relative to the mean variance of the embedding's principal axes."""


@dataclass(frozen=True)
class EmbeddingMap:
    """A linear map from embeddings to track vectors."""

    mean: NDArray[np.float64]
    """[E] of the embeddings that it was fitted on."""
    offset: NDArray[np.float64]
    """[D] the vector of a track with the mean embedding."""
    weight: NDArray[np.float64]
    """[E, D]"""

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return track vectors, not of length 1: [n, E] → [n, D]."""
        return np.asarray((embeddings - self.mean) @ self.weight + self.offset)


def held_out(n: int) -> NDArray[np.bool_]:
    """Return which of n tracks are held out, [n]; catalogues are in order of listens, so all of its range is."""
    return np.asarray(np.arange(n) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1)


def fit_embedding_map(
    embeddings: NDArray[np.float32], vectors: NDArray[np.float32]
) -> tuple[EmbeddingMap, NDArray[np.float64]]:
    """Fit the map on tracks that have both, with the penalty that does best on the tracks held out.

    Args:
        embeddings: [n, E] finite, n at least 5.
        vectors: [n, D] unit vectors of the same tracks.

    Returns:
        The map, fitted on all n, and the cosine similarities of the held-out tracks' vectors with what a map fitted
        on the others makes of them, [sum(held_out(n))].
    """
    held = held_out(len(vectors))
    candidates = _fit(embeddings[~held], vectors[~held], _PENALTIES)
    likeness = [cosine(candidate(embeddings[held]), vectors[held]) for candidate in candidates]
    best = int(np.argmax([values.mean() for values in likeness]))
    (final,) = _fit(embeddings, vectors, _PENALTIES[best : best + 1])
    return final, likeness[best]


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine similarity of each row pair, [n]; 0 for a row of zeros."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("nd,nd->n", a, b) / np.maximum(norms, 1e-12), dtype=np.float64)


def _fit(
    embeddings: NDArray[np.float32], vectors: NDArray[np.float32], penalties: NDArray[np.float64]
) -> list[EmbeddingMap]:
    """Return one ridge regression for each penalty, from one singular value decomposition."""
    mean, offset = embeddings.mean(axis=0, dtype=np.float64), vectors.mean(axis=0, dtype=np.float64)
    left, size, axes = np.linalg.svd(embeddings - mean, full_matrices=False)
    projected = left.T @ (vectors - offset)
    scale = max(float((size**2).mean()), 1e-12)
    return [
        EmbeddingMap(mean, offset, axes.T @ ((size / (size**2 + penalty * scale))[:, None] * projected))
        for penalty in penalties
    ]
