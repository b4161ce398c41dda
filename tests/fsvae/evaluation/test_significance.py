"""Intervals: exact on tiny numbers, as scipy's, and right in as many cases as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fsvae.evaluation import significance
from fsvae.evaluation.significance import BootstrapConfig, Floats, bootstrap_ratios, user_sums

ONE_GROUP = np.zeros(1, dtype=np.int64)


def interval(sums: list[float] | Floats, counts: list[float] | Floats, **config: float) -> tuple[float, float]:
    low, high = bootstrap_ratios(
        np.array(sums, dtype=float)[:, None],
        np.array(counts, dtype=float)[:, None],
        ONE_GROUP,
        BootstrapConfig(**{"least_users": 1, **config}),  # type: ignore[arg-type]
    )
    return float(low[0]), float(high[0])


def test_sums_of_users_by_hand() -> None:
    values = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], dtype=float)
    assert user_sums(values, np.array([0, 0, 2, 5])).tolist() == [[3, 30], [3, 30], [4, 40]]
    assert user_sums(values[:0], np.array([], dtype=np.int64)).tolist() == []


def test_two_users_by_hand() -> None:
    """The first has 3 targets with a mean of 1, the second one target with -1.

    Drawn are, in a quarter of the cases each, twice the first: 6/6 = 1; twice the second: -2/2 = -1; and in half of
    them both: (3 - 1) / 4 = 1/2, the mean over targets. (The mean over users would be 0.)
    """
    assert interval([3, -1], [3, 1]) == (-1, 1)
    assert interval([3, -1], [3, 1], level=0.4) == (0.5, 0.5)  # the middle 40 %
    assert interval([3, -1], [3, 1], level=0.6) == pytest.approx((-1, 1))  # from 20 % to 80 %


def test_one_user_or_equal_users_have_no_spread() -> None:
    assert interval([3], [2]) == (1.5, 1.5)
    assert interval([1, 2, 3], [2, 4, 6]) == (0.5, 0.5)


def test_resamples_without_a_target_say_nothing() -> None:
    """Only the first of two users has targets: a quarter of the draws lack it, and the others have its mean."""
    assert interval([3, 0], [2, 0]) == (1.5, 1.5)


def test_too_few_users_have_no_interval() -> None:
    sums, counts = np.ones((9, 2)), np.column_stack([np.ones(9), np.arange(9) > 0])
    low, high = bootstrap_ratios(sums, counts, np.array([0, 1]), BootstrapConfig(resamples=50, least_users=9))
    assert low[0] == high[0] == 1 and np.isnan([low[1], high[1]]).all()
    none = bootstrap_ratios(sums[:0], counts[:0], np.array([0, 1]), BootstrapConfig(resamples=50))
    assert np.isnan(none).all()


def test_an_interval_is_repeatable_and_independent_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sums, counts = rng.normal(size=30), rng.integers(1, 9, 30).astype(float)
    whole = interval(sums, counts, resamples=500)
    assert interval(sums, counts, resamples=500) == whole != interval(sums, counts, resamples=500, seed=2)
    monkeypatch.setattr(significance, "_WEIGHTS_AT_ONCE", 70)  # two resamples at once
    assert interval(sums, counts, resamples=500) == pytest.approx(whole, abs=1e-12)


def unequal_users(users: int, seed: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the user and the difference of each target: users listen unequally and differ, by 0.3 on average."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 1 + rng.poisson(rng.gamma(2.0, 4.0, users)))
    return user, rng.normal(0.3, 1.0, users)[user] + rng.normal(size=len(user))


def test_the_interval_is_scipys() -> None:
    user, difference = unequal_users(200, seed=3)
    sums, counts = user_sums(difference, user), user_sums(np.ones(len(user)), user)
    theirs = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = interval(sums, counts, resamples=10_000)
    # both ends are quantiles of draws: their standard error is about 1 % of the interval's width
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * (high - low))


def test_95_percent_is_95_percent() -> None:
    """200 simulated logs: the interval holds the true difference in nearly 95 %; drawn by targets, in far fewer."""
    by_users, by_targets = 0, 0
    for seed in range(200):
        user, difference = unequal_users(60, seed)
        low, high = interval(user_sums(difference, user), user_sums(np.ones(len(user)), user), resamples=300, seed=seed)
        by_users += low <= 0.3 <= high
        error = difference.std() / np.sqrt(len(difference))
        by_targets += abs(difference.mean() - 0.3) <= 1.96 * error
    assert 0.91 <= by_users / 200 <= 0.98
    assert by_targets / 200 < 0.7
