"""Maps of a latent space: its principal axes and unit of distance, clusters of taste, and agreement of neighbours.

Shape suffixes: N states, Z latent, C clusters, D track space, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from fsvae.latent.states import States


@dataclass(frozen=True)
class Space:
    """Centre, principal axes and unit of distance of the states of a log."""

    centre_Z: NDArray[np.float64]
    """[Z] mean of the states."""
    axes_2Z: NDArray[np.float64]
    """[2, Z] the principal axes of the states' means, unit vectors."""
    explained_2: NDArray[np.float64]
    """[2] share of the variance of the means along each axis."""
    unit: float
    """Root mean square distance of two random states: the unit of all distances shown."""

    @classmethod
    def of(cls, states: States) -> Space:
        """Return the space of some states, at least two."""
        mean_NZ = states.mean_NZ.astype(np.float64)
        unit = float(np.sqrt(2 * mean_NZ.var(axis=0).sum())) or 1.0
        return cls(mean_NZ.mean(axis=0), *principal_axes(mean_NZ), unit)

    def project(self, mean_NZ: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the coordinates of means along the principal axes, [N, 2]."""
        return np.asarray((mean_NZ - self.centre_Z) @ self.axes_2Z.T, dtype=np.float64)


def principal_axes(mean_NZ: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two principal axes, unit vectors [2, Z], and the share of the variance along each, [2].

    The sign of an axis is arbitrary: its largest component is made positive.
    """
    _, singular, axes = np.linalg.svd(mean_NZ - mean_NZ.mean(axis=0), full_matrices=False)
    axes_2Z, explained_2 = np.zeros((2, mean_NZ.shape[1])), np.zeros(2)
    axes_2Z[: len(axes)] = axes[:2]
    axes_2Z *= np.where(axes_2Z[[0, 1], np.abs(axes_2Z).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    explained_2[: len(singular)] = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-300)
    return axes_2Z, explained_2


NO_TASTE = -1
"""Cluster of a vector of zeros: no taste is known yet."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of tastes."""

    label_N: NDArray[np.int64]
    """[N] cluster of each vector, numbered from the largest, or NO_TASTE."""
    centres_CD: NDArray[np.float64]
    """[C, D] centres of the clusters."""


def taste_clusters(taste_ND: NDArray[np.float32], most: int, seed: int) -> Clusters:
    """Cluster taste vectors by their direction, with k-means; a zero vector is no taste."""
    from sklearn.cluster import KMeans

    norm_N = np.linalg.norm(taste_ND, axis=1)
    known = norm_N > 0
    unit_ND = taste_ND[known] / norm_N[known, None]
    label_N = np.full(len(taste_ND), NO_TASTE, dtype=np.int64)
    count = min(most, len(np.unique(unit_ND, axis=0)))
    if count == 0:
        return Clusters(label_N, np.zeros((0, taste_ND.shape[1])))
    fitted = KMeans(count, n_init=4, random_state=seed).fit(unit_ND)
    by_size = np.argsort(-np.bincount(fitted.labels_, minlength=count), kind="stable")
    label_N[known] = np.argsort(by_size)[fitted.labels_]
    return Clusters(label_N, np.asarray(fitted.cluster_centers_, dtype=np.float64)[by_size])


def neighbours(mean_NZ: NDArray[np.float32], user_N: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the k nearest states of other users for each state, nearest first, [N, K]; fewer where there are fewer.

    Args:
        mean_NZ: means of the states.
        user_N: user of each state.
        k: number of neighbours.
    """
    distance_NN = cdist(mean_NZ, mean_NZ, "sqeuclidean")
    distance_NN[user_N[:, None] == user_N[None, :]] = np.inf
    k = min(k, len(user_N) - int(np.bincount(user_N).max(initial=0)))
    return np.argsort(distance_NN, axis=1, kind="stable")[:, :k]


def agreement(
    alike_NN: NDArray[np.bool_], user_N: NDArray[np.int64], neighbours_NK: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the share of neighbours that are alike, and the share of all pairs of states of two users that are.

    Args:
        alike_NN: whether two states have the same taste, hour, ...
        user_N: user of each state.
        neighbours_NK: neighbours of each state.
    """
    others_NN = user_N[:, None] != user_N[None, :]
    near = np.take_along_axis(alike_NN, neighbours_NK, axis=1)
    return float(near.mean()) if near.size else float("nan"), float(alike_NN[others_NN].mean())
