"""Figures of logs that are small enough to be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from benchmarks.simulator_calibration import (
    FIRST_LISTENS,
    LATEST,
    LENGTHS,
    Figures,
    Mix,
    figures,
    figures_of_sessions,
    gini,
    mixes,
)
from pipelines.reports.describe.statistics import RECENT, Histories

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def figures_of(*listens: tuple[str, str, timedelta]) -> Figures:
    """The figures of a log of (user, track, time after Monday 0:00 UTC)."""
    rows = [(user, track, MONDAY + after) for user, track, after in listens]
    schema = {"user_id": pl.String, "track_id": pl.String, "played_at": pl.Datetime("us", "UTC")}
    return figures(Histories.of(pl.DataFrame(rows, schema, orient="row")))


def every(pause: timedelta, tracks: str, user: str = "u") -> list[tuple[str, str, timedelta]]:
    """One listen of each letter, `pause` apart."""
    return [(user, track, place * pause) for place, track in enumerate(tracks)]


def test_the_repeat_share_of_first_listens_forgets_short_and_late_histories() -> None:
    long = every(MINUTE, "ab" * (FIRST_LISTENS // 2) + "b" * 50)
    short = every(MINUTE, "x" * (FIRST_LISTENS - 1), user="v")
    assert figures_of(*long, *short)["repeat_share_first"] == (FIRST_LISTENS - 2) / FIRST_LISTENS


def test_followers_of_one_user_are_not_those_of_another() -> None:
    ann = [("ann", track, place * MINUTE) for place, track in enumerate("abababab")]
    bob = [("bob", track, 20 * MINUTE + place * MINUTE) for place, track in enumerate("ac")]
    stats = figures_of(*ann, *bob)
    # a → b is all that the first 8 listens say of a; the last two are bob's, who begins a session with a.
    assert (stats["follower_global"], stats["follower_personal"]) == (0.0, 0.0)
    stats = figures_of(*ann, *[(user, "b" if track == "c" else track, at) for user, track, at in bob])
    assert (stats["follower_global"], stats["follower_personal"]) == (1.0, 0.0)


def test_new_tracks_are_those_of_the_last_listens_alone() -> None:
    assert figures_of(*every(HOUR, "aaaabbbbcb"))["new_tracks"] == 1 / 2


def test_hours_and_weekdays() -> None:
    even = figures_of(*every(HOUR, "a" * 168))
    assert even["hour_entropy"] == pytest.approx(1.0)
    assert (even["hour_peak_to_trough"], even["weekday_peak_to_trough"]) == (1.0, 1.0)
    assert even["hour_personal"] == pytest.approx(0.0, abs=1e-6)
    daily = figures_of(*every(DAY, "a" * 56))
    assert (daily["hour_entropy"], daily["hour_peak_to_trough"]) == (0.0, float("inf"))
    assert daily["hour_personal"] == pytest.approx(1.0)
    # Monday twice and every other day once: the log's first day was a Monday.
    assert figures_of(*every(DAY, "a" * 8))["weekday_peak_to_trough"] == 2.0
    two = figures_of(*every(12 * HOUR, "a" * 50))
    assert two["hour_entropy"] == pytest.approx(np.log(2) / np.log(24))
    assert two["hour_personal"] == pytest.approx(0.0, abs=1e-6)


def test_gini() -> None:
    assert gini(np.array([4, 4, 4])) == 0.0
    assert gini(np.array([0, 0, 12])) == pytest.approx(2 / 3)  # as unequal as three can be: 1 - 1/3
    assert gini(np.array([3, 1])) == pytest.approx(0.25)


def test_sessions_without_users_and_times_tell_less() -> None:
    told = figures_of_sessions(np.array([3, 3, 3, 4, 5, 5]), np.array([1, 2, 2, 1, 1, 2]))
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


def test_counts_by_hand() -> None:
    found = figures_of(*every(HOUR, "aba", "ann"), *every(HOUR, "bb", "bob"), ("eve", "c", DAY))
    assert (found["listens"], found["users"], found["tracks"], found["days"]) == (6, 3, 3, 1.0)
    assert (found["listens_median"], found["listens_p90"]) == (2, pytest.approx(2.8))
    assert found["top_tenth"] == 3 / 6  # one track of three


def test_old_repeats_at_the_start_of_sessions() -> None:
    """'o' returns after 128 others, once an hour or once a minute; 'y' was heard a listen ago."""
    tracks = "o" + "".join(chr(0x4E00 + place) for place in range(RECENT)) + "oyy"
    assert figures_of(*every(HOUR, tracks))["start_old"] == 1 / 4  # the last of the letters, o, y, y
    assert figures_of(*every(MINUTE, tracks))["start_old"] is None


def test_where_the_next_track_comes_from() -> None:
    """Behind as many listens as make a short history: a new track, one of the latest, one just older, one just not."""
    tracks = np.arange(LENGTHS[0]).tolist()
    tracks += [-1, -1]
    tracks += [tracks[len(tracks) - LATEST - 1]]
    tracks += [tracks[len(tracks) - LATEST]]
    track = np.array([*tracks, 7, 7, 7]) + 1
    user = np.repeat([0, 1], [len(tracks), 3])  # the other user's history is too short to count
    log = Histories(user, track, np.arange(len(track)))
    assert mixes(log) == [Mix(users=1, new=1 / 4, latest=2 / 4, older=1 / 4), None, None]
