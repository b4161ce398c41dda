"""One track space across retrains: each is turned onto the one before it, and the remaining drift is measured.

word2vec fixes a space only up to a rotation, so two trainings are comparable only after one is turned onto the other
(Hamilton, Leskovec and Jurafsky, "Diachronic word embeddings reveal statistical laws of semantic change", ACL 2016,
section 2.2). A rotation keeps all lengths, distances and neighbours within a space; the vectors keep length 1, and
their common mean, which `train_track_vectors` has subtracted, stays near 0. No mean is subtracted here: the shared
tracks' mean is part of their place.

A track without a vector is a row of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
_MAX_QUERIES = 2_000
"""Most shared tracks whose neighbours are compared: enough for two digits; takes seconds at 100 000 tracks."""


@dataclass(frozen=True)
class Drift:
    """Movement of the shared tracks between two spaces; cosine distances are 1 - cosine similarity, 0 to 2."""

    shared: int
    """Number of tracks with a vector in both spaces."""
    mean_before: float
    """Mean cosine distance of a track's two vectors before alignment."""
    p90_before: float
    """90th percentile of that distance."""
    mean_after: float
    """Mean cosine distance after alignment: the drift that remains."""
    p90_after: float
    """90th percentile of that distance after alignment."""
    neighbour_overlap: float
    """Share of a track's 10 nearest shared tracks that are the same in both spaces; no rotation changes it."""


def in_order_of(track_ids: list[str], old_ids: list[str], old: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors of another catalogue in the order of this one, NaN for tracks that it does not have.

    Args:
        track_ids: this catalogue, in order.
        old_ids: the other catalogue, in order.
        old: [len(old_ids), D] its vectors.

    Returns:
        [len(track_ids), D]: `initial` of `train_track_vectors`, and `old` of `align`.
    """
    row_of = {track_id: row for row, track_id in enumerate(old_ids)}
    rows = np.array([row_of.get(track_id, -1) for track_id in track_ids], dtype=np.int64)
    found = np.full((len(track_ids), old.shape[1]), np.nan, dtype=np.float32)
    found[rows >= 0] = old[rows[rows >= 0]]
    return found


def align(new: NDArray[np.float32], old: NDArray[np.float32]) -> tuple[NDArray[np.float32], Drift | None]:
    """Turn a new space so that the tracks it shares with the old one lie as near as possible to their old places.

    Orthogonal Procrustes (Schönemann, Psychometrika 1966): the rotation (or reflection) R that minimises the squared
    distances |new R - old|^2 of the shared tracks.

    Args:
        new: [n, D] unit vectors.
        old: [n, D] unit vectors of the same tracks in the old space (`in_order_of`).

    Returns:
        [n, D] the turned vectors, and the drift; `new` itself and None where no track is shared.

    Raises:
        ValueError: the shapes differ.
    """
    if new.shape != old.shape:
        raise ValueError(f"new and old differ in shape: {new.shape}, {old.shape}")
    shared = ~(np.isnan(new).any(axis=1) | np.isnan(old).any(axis=1))
    if not shared.any():
        return new, None
    from scipy.linalg import orthogonal_procrustes  # only a continued space needs it

    before, target = new[shared].astype(np.float64), old[shared].astype(np.float64)
    rotation, _ = orthogonal_procrustes(before, target)
    moved_before = 1.0 - np.einsum("nd,nd->n", before, target)
    moved_after = 1.0 - np.einsum("nd,nd->n", before @ rotation, target)
    drift = Drift(
        shared=int(shared.sum()),
        mean_before=float(moved_before.mean()),
        p90_before=float(np.quantile(moved_before, 0.9)),
        mean_after=float(moved_after.mean()),
        p90_after=float(np.quantile(moved_after, 0.9)),
        neighbour_overlap=_neighbour_overlap(new[shared], old[shared]),
    )
    return (new.astype(np.float64) @ rotation).astype(np.float32), drift


def _neighbour_overlap(new: NDArray[np.float32], old: NDArray[np.float32]) -> float:
    """Return the mean share of common neighbours, over tracks spread evenly over the rows."""
    n = len(new)
    k = min(NEIGHBOURS, n - 1)
    if k == 0:
        return 1.0
    queries = np.unique(np.linspace(0, n - 1, min(n, _MAX_QUERIES)).astype(np.int64))
    common = 0
    for begin in range(0, len(queries), 256):
        chunk = queries[begin : begin + 256]
        nearest = np.concatenate([_nearest(new, chunk, k), _nearest(old, chunk, k)], axis=1)
        nearest.sort(axis=1)
        common += int((nearest[:, 1:] == nearest[:, :-1]).sum())
    return common / (k * len(queries))


def _nearest(vectors: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the k nearest other rows of each of `rows`, [len(rows), k]."""
    alike = vectors[rows] @ vectors.T
    alike[np.arange(len(rows)), rows] = -np.inf
    return np.argpartition(-alike, k - 1, axis=1)[:, :k]
