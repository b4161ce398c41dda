"""Drift of spans that are small enough to be counted by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from pipelines.reports.describe.drift import SHOWN_TRACKS, Span, distance, drift, js_distance


def span(name: str, events: int, listens: int, hours: dict[int, int]) -> Span:
    by_hour = np.zeros(24, dtype=np.int64)
    for hour, count in hours.items():
        by_hour[hour] = count
    return Span(name, date(2026, 1, 1), date(2026, 1, 2), 2, events, listens, by_hour)


def test_the_distance_of_shares_does_not_see_how_many_there_are() -> None:
    assert js_distance(np.array([1, 3]), np.array([10, 30])) == pytest.approx(0.0, abs=1e-7)
    assert js_distance(np.array([4, 0]), np.array([0, 9])) == pytest.approx(1.0)
    # Half of one is what the other is: ½ (½ log2 ½/¼ + ½ log2 ½/¾) + ½ log2 1/¾ = 0.3113 bits.
    assert js_distance(np.array([1, 1]), np.array([0, 1])) == pytest.approx(np.sqrt(0.311278), abs=1e-6)


def test_samples_of_one_distribution_are_as_far_apart_as_chance_says() -> None:
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(500))
    a, b = generator.multinomial(2_000, shares), generator.multinomial(2_000, shares)
    found = distance(a, b)
    assert found.measured == pytest.approx(found.chance, rel=0.1) and found.chance > 0.2
    assert distance(a, b[::-1]).measured > 2 * found.chance


def test_drift_by_hand() -> None:
    before, after = np.array([2, 2, 0, 0]), np.array([0, 2, 4, 4])
    known = np.array([True, True, False, True])
    found = drift(span("old", 4, 4, {3: 4}), span("new", 11, 10, {4: 10}), before, after, known, new_users=3)
    assert found is not None
    assert (found.new_tracks, found.new_users) == (0.4, 0.3)
    assert found.events_change == pytest.approx(11 / 4 - 1)
    assert found.hours.measured == 1.0
    assert [(one.track, one.before, one.after) for one in found.movers] == [
        (2, 0.0, 0.4),
        (3, 0.0, 0.4),
        (1, 0.5, 0.2),
        (0, 0.5, 0.0),
    ]
    assert found.shares.shape == (2, 4)


def test_movers_down_are_named_too_and_only_the_tracks_heard_most_are_kept() -> None:
    count = 2 * SHOWN_TRACKS
    before, after = np.arange(count), np.arange(count)[::-1]
    known, listens = np.ones(count, dtype=np.bool_), int(before.sum())
    found = drift(span("old", 1, listens, {0: 1}), span("new", 1, listens, {0: 1}), before, after, known, 0)
    assert found is not None
    assert [one.track for one in found.movers] == [0, 1, 2, 3, 4, *range(count - 5, count)]
    assert found.shares.shape == (2, SHOWN_TRACKS)


def test_no_drift_without_listens_on_both_sides() -> None:
    none, some = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    known = np.ones(1, dtype=np.bool_)
    assert drift(span("old", 1, 0, {}), span("new", 1, 1, {0: 1}), none, some, known, 0) is None
    assert drift(span("old", 1, 1, {0: 1}), span("new", 1, 0, {}), some, none, known, 0) is None


def test_the_distance_of_nearly_equal_shares_is_a_number() -> None:
    """Divergences that rounding makes less than 0 have no root."""
    generator = np.random.default_rng(1)
    for counts in generator.integers(1, 1000, (200, 7)):
        assert js_distance(counts, 3 * counts) == pytest.approx(0, abs=1e-7)
