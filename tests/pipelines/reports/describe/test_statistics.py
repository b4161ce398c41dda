"""Statistics of logs that are small enough to be counted by hand."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.reports.describe.statistics import (
    FIRST_LISTENS,
    RECENT,
    describe,
    describe_sessions,
    gini,
    zipf_exponent,
)

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def log(*listens: tuple[str, str, timedelta]) -> pl.DataFrame:
    """A log of (user, track, time after Monday 0:00 UTC)."""
    rows = [(user, track, MONDAY + after) for user, track, after in listens]
    return pl.DataFrame(
        rows,
        schema={"user_id": pl.String, "track_id": pl.String, "played_at": pl.Datetime("us", "UTC")},
        orient="row",
    )


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
    stats = describe(log(*listens[::-1]).sort("played_at"))
    assert (stats.listens, stats.users, stats.tracks, stats.days) == (7, 3, 3, 1.0)
    assert (stats.sessions, stats.session_mean, stats.session_median) == (4, 7 / 4, 1.5)
    assert stats.session_p90 == pytest.approx(2.7)
    assert stats.session_single == 2 / 4
    assert stats.repeat_share == 2 / 7  # ann's second a, bob's second b
    assert stats.same_again == 1 / 3  # of a→b, b→b, b→c
    assert (stats.listens_median, stats.listens_p90) == (3, 3)
    assert stats.top_tenth == 3 / 7  # one track of three
    assert stats.repeat_share_first is stats.repeat_old is stats.start_old is stats.hour_personal is None


def test_old_repeats_are_those_that_a_short_memory_has_lost() -> None:
    # 'o' returns after 128 others, which the latest 128 listens just do not show; 'y' was heard a listen ago.
    letters = [chr(0x4E00 + place) for place in range(RECENT)]
    listens = [(0, "o"), *enumerate(letters, 1), (RECENT + 1, "o"), (RECENT + 2, "y"), (RECENT + 3, "y")]
    stats = describe(log(*[("u", track, place * MINUTE) for place, track in listens]))
    assert stats.repeat_old == 1 / 4  # the last of the letters, o, y, y
    assert stats.start_old is None
    starts = describe(log(*[("u", track, place * HOUR) for place, track in listens]))
    assert (starts.repeat_old, starts.start_old) == (1 / 4, 1 / 4)


def test_the_repeat_share_of_first_listens_forgets_short_and_late_histories() -> None:
    long = every(MINUTE, "ab" * (FIRST_LISTENS // 2) + "b" * 50)
    short = every(MINUTE, "x" * (FIRST_LISTENS - 1), user="v")
    assert describe(log(*long, *short)).repeat_share_first == (FIRST_LISTENS - 2) / FIRST_LISTENS


def test_followers_are_learned_on_the_first_listens_and_tested_on_the_last() -> None:
    # The first 8 of 10 listens say a → b twice and a → c once; b → a and b → c once each, and of these a is taken.
    assert describe(log(*every(MINUTE, "abacabcb" + "ab"))).follower_global == 2 / 2
    assert describe(log(*every(MINUTE, "abacabcb" + "ac"))).follower_global == 1 / 2
    assert describe(log(*every(MINUTE, "abacabcb" + "cb"))).follower_global == 0 / 2  # c → a is taken, too
    assert describe(log(*every(MINUTE, "abababab" + "cb"))).follower_global == 0 / 2  # c has no follower yet


def test_followers_of_one_user_are_not_those_of_another() -> None:
    ann = [("ann", track, place * MINUTE) for place, track in enumerate("abababab")]
    bob = [("bob", track, 20 * MINUTE + place * MINUTE) for place, track in enumerate("ac")]
    stats = describe(log(*ann, *bob))
    # a → b is all that the first 8 listens say of a; the last two are bob's, who begins a session with a.
    assert (stats.follower_global, stats.follower_personal) == (0.0, 0.0)
    stats = describe(log(*ann, *[(user, "b" if track == "c" else track, at) for user, track, at in bob]))
    assert (stats.follower_global, stats.follower_personal) == (1.0, 0.0)


def test_new_tracks_are_those_of_the_last_listens_alone() -> None:
    assert describe(log(*every(HOUR, "aaaabbbbcb"))).new_tracks == 1 / 2


def test_hours_and_weekdays() -> None:
    even = describe(log(*every(HOUR, "a" * 168)))
    assert even.hour_entropy == pytest.approx(1.0)
    assert (even.hour_peak_to_trough, even.weekday_peak_to_trough) == (1.0, 1.0)
    assert even.hour_personal == pytest.approx(0.0, abs=1e-6)
    daily = describe(log(*every(DAY, "a" * 56)))
    assert (daily.hour_entropy, daily.hour_peak_to_trough) == (0.0, float("inf"))
    assert daily.hour_personal == pytest.approx(1.0)
    # Monday twice and every other day once: the log's first day was a Monday.
    assert describe(log(*every(DAY, "a" * 8))).weekday_peak_to_trough == 2.0
    two = describe(log(*every(12 * HOUR, "a" * 50)))
    assert two.hour_entropy == pytest.approx(np.log(2) / np.log(24))
    assert two.hour_personal == pytest.approx(0.0, abs=1e-6)


def test_gini() -> None:
    assert gini(np.array([4, 4, 4])) == 0.0
    assert gini(np.array([0, 0, 12])) == pytest.approx(2 / 3)  # as unequal as three can be: 1 - 1/3
    assert gini(np.array([3, 1])) == pytest.approx(0.25)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.7])
def test_the_zipf_exponent_of_counts_that_follow_the_law(exponent: float) -> None:
    counts = np.rint(1e9 * np.arange(1, 1001) ** -exponent).astype(np.int64)
    assert zipf_exponent(np.random.default_rng(0).permutation(counts)) == pytest.approx(exponent, abs=1e-3)


def test_the_zipf_exponent_of_one_track_and_of_tracks_nobody_heard() -> None:
    assert zipf_exponent(np.array([0, 5, 5, 0])) == pytest.approx(0.0, abs=1e-9)
    assert zipf_exponent(np.array([7])) <= 10.0


def test_sessions_without_users_and_times_tell_less() -> None:
    stats = describe_sessions(np.array([3, 3, 3, 4, 5, 5]), np.array([1, 2, 2, 1, 1, 2]))
    told = {name: value for name, value in asdict(stats).items() if value is not None}
    assert told == {
        "listens": 6,
        "tracks": 2,
        "sessions": 3,
        "session_mean": 2.0,
        "session_median": 2.0,
        "session_p90": pytest.approx(2.8),
        "session_single": 1 / 3,
        "zipf": pytest.approx(0.0, abs=1e-9),
        "top_tenth": 1 / 2,
        "same_again": 1 / 3,
        "follower_global": 1.0,  # 1 → 2 was seen in the first five listens, and is the sixth
    }


def test_a_log_without_listens_is_refused() -> None:
    with pytest.raises(ValueError, match="without listens"):
        describe(log())
