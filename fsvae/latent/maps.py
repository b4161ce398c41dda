"""Maps of a latent space: its axes and its unit of distance, t-SNE, clusters of taste, and what neighbours share.

Shape suffixes: N states, Z latent, D track space, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.latent.states import States

_LEAST_FOR_TSNE = 10
_ALL_THE_SAME = 1e-5


@dataclass(frozen=True)
class Space:
    """Where the states of a log lie."""

    centre_Z: NDArray[np.float64]
    """[Z] mean of the states."""
    sigma_Z: NDArray[np.float64]
    """[Z] standard deviation of the aggregate posterior, the mixture of the posteriors of all states."""
    axes_2Z: NDArray[np.float64]
    """[2, Z] the principal axes of the states' means, unit vectors."""
    explained_2: NDArray[np.float64]
    """[2] share of the variance of the means that lies along each axis."""
    unit: float
    """The distance of two random states (root mean square), which distances are told in."""

    @classmethod
    def of(cls, states: States) -> Space:
        """Return the space of some states, of which there are two at least."""
        mean_NZ = states.mean_NZ.astype(np.float64)
        centre_Z = mean_NZ.mean(axis=0)
        variance_Z = mean_NZ.var(axis=0)
        sigma_Z = np.sqrt(variance_Z + states.variance_NZ.mean(axis=0))
        unit = float(np.sqrt(2 * variance_Z.sum())) or 1.0
        return cls(centre_Z, sigma_Z, *principal_axes(mean_NZ), unit)

    def project(self, mean_NZ: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the coordinates of means along the principal axes, [N, 2]."""
        return np.asarray((mean_NZ - self.centre_Z) @ self.axes_2Z.T, dtype=np.float64)


def principal_axes(mean_NZ: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two principal axes, unit vectors [2, Z], and the share of the variance along each, [2].

    Either direction of an axis is as good: its largest component is positive.
    """
    _, singular, axes = np.linalg.svd(mean_NZ - mean_NZ.mean(axis=0), full_matrices=False)
    axes_2Z, explained_2 = np.zeros((2, mean_NZ.shape[1])), np.zeros(2)
    axes_2Z[: len(axes)] = axes[:2]
    axes_2Z *= np.where(axes_2Z[[0, 1], np.abs(axes_2Z).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    explained_2[: len(singular)] = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-300)
    return axes_2Z, explained_2


def tsne(mean_NZ: NDArray[np.float32], seed: int) -> NDArray[np.float64] | None:
    """Return a map on which near states are near (van der Maaten and Hinton, 2008), [N, 2].

    None for a handful of states, and for states that are all the same: of these scikit-learn makes a crash.
    """
    from sklearn.manifold import TSNE  # takes a second to import

    if len(mean_NZ) < _LEAST_FOR_TSNE or np.ptp(mean_NZ, axis=0).max() < _ALL_THE_SAME:
        return None
    perplexity = min(30.0, (len(mean_NZ) - 1) / 3)
    found = TSNE(init="pca", perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform(mean_NZ)
    return np.asarray(found, dtype=np.float64)


NO_TASTE = -1
"""The cluster of a vector of zeros: nothing is known yet."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of tastes."""

    label_N: NDArray[np.int64]
    """[N] the cluster of each vector, the largest first, or NO_TASTE."""
    centres_CD: NDArray[np.float64]
    """[C, D] their centres."""


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
        mean_NZ: the states.
        user_N: whose they are.
        k: how many to look for.
    """
    mean_NZ = mean_NZ.astype(np.float64)
    squared_N = (mean_NZ**2).sum(axis=1)
    k = min(k, len(user_N) - int(np.bincount(user_N).max(initial=0)))
    found = np.zeros((len(mean_NZ), k), dtype=np.int64)
    for row, mean_Z in enumerate(mean_NZ):
        distance_N = np.where(user_N == user_N[row], np.inf, squared_N - 2 * (mean_NZ @ mean_Z))
        found[row] = np.argsort(distance_N, kind="stable")[:k]
    return found


def agreement(
    alike_NN: NDArray[np.bool_], user_N: NDArray[np.int64], neighbours_NK: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the share of neighbours that are alike, and the share of all pairs of two users' states that are.

    Args:
        alike_NN: which states have the same taste, hour, ...
        user_N: whose the states are.
        neighbours_NK: of each state.
    """
    others_NN = user_N[:, None] != user_N[None, :]
    near = np.take_along_axis(alike_NN, neighbours_NK, axis=1)
    return float(near.mean()) if near.size else float("nan"), float(alike_NN[others_NN].mean())
