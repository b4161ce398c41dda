"""Slow snapshots: every habit and the taste, worked out by hand and against the plainest reference."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US
from fsvae.features.habits import Past, fold, habits, snapshot_days
from fsvae.features.recent_days import RecentDays
from fsvae.features.slow import HABITS, HALF_LIVES_DAYS, WINDOW_DAYS, Events
from fsvae.features.taste import DaySums
from fsvae.schema import KINDS

D = 20_454
"""The day of the snapshots, 2026-01-01, a Thursday."""
HOUR_US = DAY_US // 24

Row = tuple[int, int, int, int, str]
"""user, track, artist, played_at [us], kind."""


def at(day: int, hour: int = 0, us: int = 0) -> int:
    return day * DAY_US + hour * HOUR_US + us


def events_of(rows: list[Row]) -> Events:
    ordered = sorted(rows, key=lambda row: (row[0], row[3]))
    user, track, artist, played_at = (np.array([row[i] for row in ordered], dtype=np.int64) for i in range(4))
    return Events(user, track, artist, np.array([KINDS.index(row[4]) for row in ordered], dtype=np.int8), played_at)


def habits_of(rows: list[Row], day: int = D, user: int = 0) -> dict[str, float]:
    row = habits(events_of(rows), np.array([user]), np.array([day]))[0]
    return dict(zip(HABITS, row.tolist(), strict=True))


def number(found: dict[str, float], name: str) -> int:
    count = math.expm1(found[f"log_{name}"])
    assert count == pytest.approx(round(count), abs=1e-4)
    return round(count)


def numbers(found: dict[str, float], *names: str) -> list[int]:
    return [number(found, name) for name in names]


def listen(day: int, track: int = 0, artist: int = 0, hour: int = 0) -> Row:
    return (0, track, artist, at(day, hour), "listen")


def test_the_day_of_these_tests() -> None:
    assert datetime.fromtimestamp(D * 86_400, UTC).isoformat() == "2026-01-01T00:00:00+00:00"


def test_all_habits_are_documented_in_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "slow_features.md").read_text()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if "`" in line[:3]]
    assert [row[0] for row in rows] == list(HABITS) and all(all(row) and len(row) == 4 for row in rows)


def test_the_window_is_the_28_days_before_the_day_to_the_microsecond() -> None:
    inside = [(0, 1, 0, at(D - 28), "listen"), (0, 2, 0, at(D) - 1, "listen")]
    outside = [(0, 3, 0, at(D - 28) - 1, "listen"), (0, 4, 0, at(D), "listen")]
    assert WINDOW_DAYS == 28
    assert numbers(habits_of(inside + outside), "listens", "distinct_tracks") == [2, 2]
    for row in inside:
        assert number(habits_of([row]), "listens") == 1
    for row in outside:
        assert number(habits_of([row]), "listens") == 0


def test_each_kind_has_its_own_count() -> None:
    rows = [(0, 1, 0, at(D - 1, hour), kind) for hour, kind in enumerate(["skip"] * 2 + ["like"] * 3 + ["save"] * 4)]
    rows += [(0, 1, 0, at(D - 1, 20), "unlike"), listen(D - 1, hour=21)]
    assert numbers(habits_of(rows), "listens", "skips", "likes", "saves") == [1, 2, 3, 4]


def test_kinds_other_than_listens_also_leave_the_window() -> None:
    for kind, name in (("skip", "skips"), ("like", "likes"), ("save", "saves")):
        rows = [(0, 1, 0, at(day), kind) for day in (D - 29, D - 28, D - 1, D)]
        assert number(habits_of(rows), name) == 2


def test_a_repeat_is_a_listen_to_a_track_that_was_heard_at_any_time_before() -> None:
    rows = [listen(D - 200, 7), listen(D - 5, 7), listen(D - 5, 8, hour=1), listen(D - 4, 8), listen(D - 4, 8, hour=1)]
    found = habits_of(rows)
    assert numbers(found, "listens", "repeats") == [4, 3]
    assert found["repeat_share"] == pytest.approx(0.75)


def test_a_skip_before_does_not_make_a_repeat() -> None:
    found = habits_of([(0, 7, 0, at(D - 3), "skip"), listen(D - 2, 7)])
    assert numbers(found, "repeats") == [0]


def test_distinct_counts_are_of_the_window_alone() -> None:
    rows = [listen(D - 40, 1, 1), listen(D - 20, 1, 1), listen(D - 10, 2, 1), listen(D - 9, 1, 1), listen(D - 9, 3, 2)]
    rows += [listen(D, 4, 3), listen(D - 30, 5, 4), listen(D - 8, 6, -1)]
    assert numbers(habits_of(rows), "distinct_tracks", "distinct_artists") == [4, 2]


def test_a_later_listen_does_not_take_away_from_an_earlier_snapshot() -> None:
    rows = [listen(D - 1, 1), listen(D, 1), listen(D + 5, 1)]
    assert number(habits_of(rows, day=D), "distinct_tracks") == 1
    assert number(habits_of(rows, day=D + 1), "distinct_tracks") == 1


def test_tenure_and_recency_are_days_since_the_first_and_the_latest_listen() -> None:
    found = habits_of([listen(D - 100), listen(D - 60), listen(D - 50, hour=23)])
    assert numbers(found, "tenure_days", "recency_days") == [100, 50]
    assert found["known"] == 1 and number(found, "listens") == 0
    found = habits_of([listen(D - 1, hour=23)])
    assert numbers(found, "tenure_days", "recency_days") == [1, 1]


def test_shares_of_hours_and_weekdays() -> None:
    rows = [listen(D - 1, hour=23), listen(D - 1, hour=5), listen(D - 3, hour=5), listen(D - 7, hour=0)]
    found = habits_of(rows)
    hours = [found[f"hour_{hour:02d}_share"] for hour in range(24)]
    assert hours == [0.25 if hour in (0, 23) else 0.5 if hour == 5 else 0 for hour in range(24)]
    weekdays = {name.split("_")[1]: found[name] for name in HABITS if name.startswith("weekday")}
    assert weekdays == {"mon": 0.25, "tue": 0, "wed": 0.5, "thu": 0.25, "fri": 0, "sat": 0, "sun": 0}


def test_nothing_is_known_of_a_user_without_a_past() -> None:
    others = [(1, 1, 1, at(D - 1), "listen"), listen(D), listen(D + 3)]
    for rows in ([], others):
        assert set(habits_of(rows).values()) == {0.0}


def test_a_user_is_known_by_any_event() -> None:
    found = habits_of([(0, 1, 1, at(D - 2), "like"), listen(D)])
    assert found["known"] == 1 and numbers(found, "likes", "listens", "tenure_days") == [1, 0, 0]
    assert habits_of([(0, 1, 1, at(D), "like"), listen(D)])["known"] == 0


def test_snapshot_days_are_the_active_days_once_and_in_order() -> None:
    user, day = snapshot_days(np.array([0, 0, 0, 2, 2]), np.array([at(9), at(9, 23), at(11), at(3), at(8)]))
    assert list(zip(user.tolist(), day.tolist(), strict=True)) == [(0, 9), (0, 11), (2, 3), (2, 8)]


def reference_habits(rows: list[Row], user: int, day: int) -> list[float]:
    past = sorted((row for row in rows if row[0] == user and row[3] < at(day)), key=lambda row: row[3])
    window = [row for row in past if row[3] >= at(day - 28)]
    listens = [row for row in window if row[4] == "listen"]
    ever = [row for row in past if row[4] == "listen"]
    repeats = sum(
        row[4] == "listen" and row[3] >= at(day - 28) and any(row[1] == old[1] for old in ever[: ever.index(row)])
        for row in dict.fromkeys(ever)
    )
    counts = [
        len(listens),
        *(sum(row[4] == kind for row in window) for kind in ("skip", "like", "save")),
        repeats,
        len({row[1] for row in listens}),
        len({row[2] for row in listens if row[2] >= 0}),
    ]
    days = [row[3] // DAY_US for row in ever]
    n = max(len(listens), 1)
    return [
        float(bool(past)),
        *(math.log1p(count) for count in counts),
        repeats / n,
        math.log1p(day - days[0] if days else 0),
        math.log1p(day - days[-1] if days else 0),
        *(sum(row[3] % DAY_US // HOUR_US == hour for row in listens) / n for hour in range(24)),
        *(sum(datetime.fromtimestamp(row[3] / 1e6, UTC).weekday() == w for row in listens) / n for w in range(7)),
    ]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 4),
        st.integers(-1, 2),
        st.builds(at, st.integers(D - 70, D + 3), st.integers(0, 23)),
        st.sampled_from(KINDS),
    ),
    max_size=40,
    unique_by=lambda row: (row[0], row[3]),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=ROWS)
def test_habits_are_those_of_the_reference(rows: list[Row]) -> None:
    snapshots = [(user, day) for user in range(3) for day in (D - 60, D - 35, D - 28, D - 27, D - 1, D, D + 4)]
    user, day = np.array(snapshots, dtype=np.int64).T
    found = habits(events_of(rows), user, day)
    expected = [reference_habits(rows, *snapshot) for snapshot in snapshots]
    assert found.dtype == np.float32 and found.shape == (len(snapshots), len(HABITS))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=ROWS, cuts=st.lists(st.integers(D - 70, D + 4), max_size=6))
def test_block_by_block_gives_the_very_same_habits(rows: list[Row], cuts: list[int]) -> None:
    """Users are numbered by their first event, as they come in; blocks may be of any length."""
    rows = sorted(rows, key=lambda row: row[3])
    number = {user: index for index, user in enumerate(dict.fromkeys(row[0] for row in rows))}
    rows = [(number[row[0]], *row[1:]) for row in rows]
    bounds = sorted({D - 70, *cuts, D + 5})
    past, found, wanted = Past.nothing(), [], []
    for first, end in pairwise(bounds):
        users = len({row[0] for row in rows if row[3] < at(end)})
        snapshots = [(user, day) for user in range(users) for day in range(first, end + (end == D + 5))]
        user, day = np.array(snapshots, dtype=np.int64).reshape(-1, 2).T
        block = events_of([row for row in rows if at(first) <= row[3] < at(end)])
        some, past = fold(past, block, users, first, end, user, day)
        found.append(some)
        wanted.append(habits(events_of(rows), user, day))
    assert np.array_equal(np.concatenate(found), np.concatenate(wanted))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=ROWS, cuts=st.lists(st.integers(D - 70, D + 4), max_size=6))
@example(rows=[(0, 1, 1, at(D - 60), "listen"), (0, 1, 1, at(D - 50), "like"), (0, 2, 1, at(D - 1), "skip")], cuts=[D])
def test_habits_behind_the_latest_listen_are_made_of_recent_days(rows: list[Row], cuts: list[int]) -> None:
    """On every day from the one behind it until 40 days behind the log, and in however many blocks they were folded."""
    past, users = Past.nothing(), 3
    for first, end in pairwise(sorted({D - 70, *cuts, D + 5})):
        block, none = events_of([row for row in rows if at(first) <= row[3] < at(end)]), np.zeros(0, dtype=np.int64)
        past = fold(past, block, users, first, end, none, none)[1]
    recent = RecentDays.of(past)
    for user in {row[0] for row in rows if row[4] == "listen"}:
        listens = [row[3] // DAY_US for row in rows if row[0] == user and row[4] == "listen"]
        days = np.arange(max(listens) + 1, D + 45)
        of_user = np.full(len(days), user)
        found = recent.habits(of_user, np.full(len(days), min(listens)), days)
        assert np.array_equal(found, habits(events_of(rows), of_user, days))
    listeners = {row[0] for row in rows if row[4] == "listen"}
    assert set(recent.user_G.tolist()) == listeners


VECTORS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)


def taste_of(rows: list[tuple[int, int, int]], snapshots: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Rows are (user, track, played_at); the answer is [snapshots, half-lives, 2]."""
    user, track, played_at = np.array(sorted(rows, key=lambda row: (row[0], row[2])), dtype=np.int64).reshape(-1, 3).T
    who, day = np.array(snapshots, dtype=np.int64).T
    sums = DaySums.of(user, track.astype(np.int32), played_at, VECTORS)
    return sums.taste(who, day).reshape(len(snapshots), len(HALF_LIVES_DAYS), 2)


def test_yesterday_weighs_1_and_a_half_life_earlier_half() -> None:
    assert HALF_LIVES_DAYS == (1.0, 7.0, 28.0)
    found = taste_of([(0, 0, at(D - 1, 3)), (0, 1, at(D - 8, 22)), (0, 1, at(D - 8, 23))], [(0, D)])[0]
    expected = []
    for weight in (
        2.0**-7,
        0.5,
        2.0**-0.25,
    ):  # of the day seven days before yesterday, on which track 1 was heard twice
        expected.append([1 / (1 + 2 * weight), 2 * weight / (1 + 2 * weight)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_taste_has_the_window_of_the_habits_and_skips_tracks_without_a_vector() -> None:
    edge = taste_of([(0, 0, at(D - 28)), (0, 1, at(D - 28) - 1), (0, 1, at(D)), (0, 3, at(D - 2))], [(0, D)])[0]
    np.testing.assert_allclose(edge, [[1.0, 0.0]] * 3, rtol=1e-6)
    nothing = taste_of([(0, 3, at(D - 1)), (0, 1, at(D)), (1, 0, at(D - 1))], [(0, D)])
    assert not nothing.any()
    assert not taste_of([], [(0, D), (1, D)]).any()


def reference_taste(rows: list[tuple[int, int, int]], user: int, day: int) -> NDArray[np.float64]:
    out = np.zeros((len(HALF_LIVES_DAYS), 2))
    for index, half_life in enumerate(HALF_LIVES_DAYS):
        total, weights = np.zeros(2), 0.0
        for who, track, played_at in rows:
            if who == user and track < 3 and at(day - 28) <= played_at < at(day):
                weight = 0.5 ** ((day - 1 - played_at // DAY_US) / half_life)
                total, weights = total + weight * VECTORS[track], weights + weight
        if weights:
            out[index] = total / weights
    return out


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.builds(at, st.integers(D - 70, D + 3), st.integers(0, 23))),
        max_size=60,
    )
)
@example(rows=[(user, day % 3, at(day)) for user in range(3) for day in range(D - 40, D + 3)])
def test_taste_is_that_of_the_reference(rows: list[tuple[int, int, int]]) -> None:
    snapshots = [(user, day) for user in range(3) for day in (D - 60, D - 35, D - 28, D - 27, D - 1, D, D + 4)]
    expected = [reference_taste(rows, *snapshot) for snapshot in snapshots]
    np.testing.assert_allclose(taste_of(rows, snapshots), expected, rtol=1e-4, atol=1e-6)
