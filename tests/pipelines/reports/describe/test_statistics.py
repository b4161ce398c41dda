"""Statistics of logs that are small enough to be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.reports.describe.statistics import RECENT, Histories, describe, zipf_exponent

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def log(*listens: tuple[str, str, timedelta]) -> Histories:
    """A log of (user, track, time after Monday 0:00 UTC)."""
    rows = [(user, track, MONDAY + after) for user, track, after in listens]
    schema = {"user_id": pl.String, "track_id": pl.String, "played_at": pl.Datetime("us", "UTC")}
    return Histories.of(pl.DataFrame(rows, schema, orient="row"))


def every(pause: timedelta, tracks: str, user: str = "u") -> list[tuple[str, str, timedelta]]:
    """One listen of each letter, `pause` apart."""
    return [(user, track, place * pause) for place, track in enumerate(tracks)]


def test_counts_sessions_and_repeats_by_hand() -> None:
    listens = [
        ("ann", "a", 0 * MINUTE),
        ("ann", "b", 30 * MINUTE),  # a pause of just 30 minutes is within the session
        ("ann", "a", 61 * MINUTE),  # 31: another session
        ("bob", "b", 5 * MINUTE),
        ("bob", "b", 6 * MINUTE),
        ("bob", "c", 9 * MINUTE),
        ("eve", "c", DAY),
    ]
    stats = describe(log(*listens[::-1]))
    assert stats.users == 3
    assert (stats.sessions, stats.session_mean, stats.session_median) == (4, 7 / 4, 1.5)
    assert stats.session_p90 == pytest.approx(2.7)
    assert stats.session_single == 2 / 4
    assert stats.repeat_share == 2 / 7  # ann's second a, bob's second b
    assert stats.same_again == 1 / 3  # of a→b, b→b, b→c
    assert stats.repeat_old is None
    assert stats.hour_peak_to_trough == float("inf")


def test_old_repeats_are_those_that_a_short_memory_has_lost() -> None:
    # 'o' returns after 128 others, which the latest 128 listens just do not show; 'y' was heard a listen ago.
    letters = [chr(0x4E00 + place) for place in range(RECENT)]
    listens = [(0, "o"), *enumerate(letters, 1), (RECENT + 1, "o"), (RECENT + 2, "y"), (RECENT + 3, "y")]
    stats = describe(log(*[("u", track, place * MINUTE) for place, track in listens]))
    assert stats.repeat_old == 1 / 4  # the last of the letters, o, y, y


def test_followers_are_learned_on_the_first_listens_and_tested_on_the_last() -> None:
    # The first 8 of 10 listens say a → b twice and a → c once; b → a and b → c once each, and of these a is taken.
    assert describe(log(*every(MINUTE, "abacabcb" + "ab"))).follower_global == 2 / 2
    assert describe(log(*every(MINUTE, "abacabcb" + "ac"))).follower_global == 1 / 2
    assert describe(log(*every(MINUTE, "abacabcb" + "cb"))).follower_global == 0 / 2  # c → a is taken, too
    assert describe(log(*every(MINUTE, "abababab" + "cb"))).follower_global == 0 / 2  # c has no follower yet


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.7])
def test_the_zipf_exponent_of_counts_that_follow_the_law(exponent: float) -> None:
    counts = np.rint(1e9 * np.arange(1, 1001) ** -exponent).astype(np.int64)
    assert zipf_exponent(np.random.default_rng(0).permutation(counts)) == pytest.approx(exponent, abs=1e-3)


def test_the_zipf_exponent_of_one_track_and_of_tracks_nobody_heard() -> None:
    assert zipf_exponent(np.array([0, 5, 5, 0])) == pytest.approx(0.0, abs=1e-9)
    assert zipf_exponent(np.array([7])) <= 10.0


def test_a_log_without_listens_is_refused() -> None:
    with pytest.raises(ValueError, match="without listens"):
        log()


def test_the_busiest_hour_for_the_quietest() -> None:
    assert describe(log(*every(HOUR, "a" * 36))).hour_peak_to_trough == 2.0
