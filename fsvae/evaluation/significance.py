"""The uncertainty of a difference between two models: the paired bootstrap over users, and the spread over seeds.

A figure of a table is a mean over targets, and the targets of one user are dependent, so users are drawn, with all
their targets (Field and Welsh, 2007: the cluster bootstrap). Each resample's mean is the ratio of two sums over the
drawn users, of the differences and of the numbers of targets: the same mean over targets as in the table.

Shape suffixes: U users, R resamples, M figures, G groups of figures that are over the same targets, 2 the two models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Floats = NDArray[np.float64]

_WEIGHTS_AT_ONCE = 1 << 20  # 8 MiB of float64 weights


@dataclass
class BootstrapConfig:
    """Settings of the bootstrap intervals."""

    resamples: int = 10_000
    """Number of resamples; each draws as many users as there are, with replacement."""
    level: float = 0.95
    """Share of the resamples in the interval; equally many lie on both sides (Efron's percentiles)."""
    least_users: int = 10
    """Least number of users for an interval; with fewer it would be too narrow (for 10 users who listen very unequally,
    a 95 % interval covers 87 %; for 40, 92 %)."""
    seed: int = 1
    """Seed of the draws; the same for every model and figure, so that intervals can be compared."""


def user_sums(values: Floats, users: NDArray[np.int64]) -> Floats:
    """Return the sums [U, M] of values [N, M] over each user's rows; `users` [N] is in ascending order."""
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    return np.asarray(np.add.reduceat(values, begins, axis=0) if len(users) else values)


def bootstrap_ratios(
    sums_UM: Floats, counts_UG: Floats, group_M: NDArray[np.int64], config: BootstrapConfig
) -> tuple[Floats, Floats]:
    """Return the lower and upper ends [M] of the intervals of sum(sums) / sum(counts) over users.

    Resamples without a target of a group are left out of its figures. NaN where too few users have a target.

    Args:
        sums_UM: each user's sum of each figure.
        counts_UG: each user's number of targets in each group.
        group_M: the group of each figure.
        config: settings of the intervals.
    """
    n_users = len(sums_UM)
    ratios_RM = np.full((config.resamples, sums_UM.shape[1]), np.nan)
    both = np.concatenate([sums_UM, counts_UG], axis=1)
    rng = np.random.default_rng(config.seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // max(n_users, 1))
    for begin in range(0, config.resamples if n_users else 0, at_once):
        end = min(begin + at_once, config.resamples)
        weights_RU = np.empty((end - begin, n_users))
        for weights_U in weights_RU:
            weights_U[:] = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)
        drawn_RM, counts_RG = np.split(weights_RU @ both, [sums_UM.shape[1]], axis=1)
        counts_RM = counts_RG[:, group_M]
        np.divide(drawn_RM, counts_RM, out=ratios_RM[begin:end], where=counts_RM > 0)
    ends_2M = np.full((2, sums_UM.shape[1]), np.nan)
    known_M = ((counts_UG > 0).sum(axis=0) >= max(config.least_users, 1))[group_M]
    tails = [(1 - config.level) / 2, (1 + config.level) / 2]
    ends_2M[:, known_M] = np.nanquantile(ratios_RM[:, known_M], tails, axis=0)
    return ends_2M[0], ends_2M[1]


def seed_margins(spread_2M: Floats, seeds_2M: NDArray[np.int64], level: float) -> Floats:
    """Return half the width [M] of the interval over seeds of the difference of two means (Welch, 1947).

    NaN where neither model has two seeds.

    Args:
        spread_2M: standard deviations over seeds (n - 1); NaN of a model with one seed, taken as a spread of 0.
        seeds_2M: number of seeds of each model.
        level: share of such intervals that hold the true difference.
    """
    of_mean_2M = np.where(np.isnan(spread_2M), 0.0, spread_2M) ** 2 / seeds_2M
    variance_M = of_mean_2M.sum(axis=0)
    by_freedom_M = (of_mean_2M**2 / np.maximum(seeds_2M - 1, 1)).sum(axis=0)
    freedom_M = np.divide(variance_M**2, by_freedom_M, out=np.ones_like(variance_M), where=by_freedom_M > 0)
    margin_M: Floats = t.ppf((1 + level) / 2, freedom_M) * np.sqrt(variance_M)
    return np.where(np.isnan(spread_2M).all(axis=0), np.nan, margin_M)
