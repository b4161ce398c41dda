"""Alignment: a turned space is turned back, only shared tracks say how, and what moved is told in exact figures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group

from fsvae.features.alignment import align, in_order_of

NONE = [np.nan, np.nan]


def unit(n: int, seed: int, dim: int = 80) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def table(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_a_turned_space_is_turned_back() -> None:
    old = unit(200, seed=0)
    turned = (old @ ortho_group.rvs(80, random_state=1)).astype(np.float32)
    aligned, drift = align(turned, old)
    np.testing.assert_allclose(aligned, old, atol=1e-5)
    assert aligned.dtype == np.float32 and drift is not None
    assert drift.mean_before > 0.5 and drift.p90_before > drift.mean_before
    assert (drift.shared, drift.neighbour_overlap) == (200, 1.0)
    assert abs(drift.mean_after) < 1e-6 and abs(drift.p90_after) < 1e-6


def test_drift_by_hand() -> None:
    """Three tracks stay and two go to either side at right angles, so that no turn is better than none; then all turn.

    Turned by a quarter, the tracks that stay are at distance 1, one of the others is opposite (2), one is back (0).
    """
    old = table([1, 0], [1, 0], [0, 1], [1, 0], [1, 0])
    new = table([1, 0], [1, 0], [0, 1], [0, 1], [0, -1])
    turned = np.stack([-new[:, 1], new[:, 0]], axis=1)
    aligned, drift = align(turned, old)
    np.testing.assert_allclose(aligned, new, atol=1e-6)
    assert drift is not None
    assert (drift.mean_before, drift.p90_before) == (pytest.approx(1.0), pytest.approx(1.6))
    assert (drift.mean_after, drift.p90_after) == (pytest.approx(0.4), pytest.approx(1.0))


def test_only_tracks_in_both_spaces_say_how_to_turn_and_all_are_turned() -> None:
    new = table([0, 1], [-1, 0], [0.6, 0.8], NONE)
    old = table([1, 0], [0, 1], NONE, [1, 0])
    aligned, drift = align(new, old)
    np.testing.assert_allclose(aligned, table([1, 0], [0, 1], [0.8, -0.6], NONE), atol=1e-6)
    assert drift is not None and drift.shared == 2 and drift.mean_after == pytest.approx(0, abs=1e-6)


def test_a_rotation_keeps_lengths_and_likenesses() -> None:
    new = unit(50, seed=2)
    aligned, _ = align(new, unit(50, seed=3))
    np.testing.assert_allclose(aligned @ aligned.T, new @ new.T, atol=1e-5)


def test_neighbours_by_hand() -> None:
    """On a circle of 24 tracks the 10 nearest are 5 on each side; then two tracks side by side change places.

    The two lose a neighbour on one side each, and gain one on the other; so do those that lie 5 places off.
    """
    angle = 2 * np.pi * (np.arange(24) + 0.01 * np.sin(np.arange(24))) / 24
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    _, same = align(circle, circle)
    assert same is not None and same.neighbour_overlap == 1.0
    order = np.array([1, 0, *range(2, 24)])
    _, drift = align(circle[order], circle)
    assert drift is not None and drift.neighbour_overlap == pytest.approx((20 * 10 + 4 * 9) / 240)


def test_many_tracks_are_sampled_evenly() -> None:
    """The first 3 000 of 6 000 tracks keep their neighbours and the others do not."""
    old = np.concatenate([unit(6_000, seed=0, dim=8), np.repeat(table([1], [-1]), 3_000, axis=0)], axis=1) / np.float32(
        np.sqrt(2)
    )
    new = old.copy()
    new[3_000:] = np.random.default_rng(2).permutation(new[3_000:])
    _, drift = align(new, old)
    assert drift is not None and drift.neighbour_overlap == pytest.approx(0.5, abs=0.02)


def test_nothing_shared_leaves_the_space_as_it_is() -> None:
    new = table([1, 0], NONE)
    aligned, drift = align(new, table(NONE, [1, 0]))
    np.testing.assert_array_equal(aligned, new)
    assert drift is None


def test_one_shared_track_is_aligned() -> None:
    aligned, drift = align(table([0, 1], [1, 0]), table([1, 0], NONE))
    np.testing.assert_allclose(aligned[0], [1, 0], atol=1e-6)
    assert drift is not None and (drift.shared, drift.neighbour_overlap) == (1, 1.0)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        align(unit(3, seed=0), unit(4, seed=0))


def test_the_order_of_another_catalogue() -> None:
    old = table([1, 2], [3, 4], [5, 6])
    np.testing.assert_array_equal(in_order_of(["c", "x", "a"], ["a", "b", "c"], old), table([5, 6], NONE, [1, 2]))
