"""The cache of pasts: what is stored comes back, however large its numbers, and only where all of it is there."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from fsvae.features.distinct import Latest
from fsvae.features.habits import Past
from fsvae.features.slow import HABITS
from fsvae.prepare.events import Codes, Day, EventCodes, UserShard
from fsvae.prepare.habits_cache import HabitsCache, State, WeekHabits, weeks_of
from fsvae.storage import Folder

DAYS = [Day(number, f"{number}", f"{number:x}") for number in (14, 15, 22, 35, 36)]
"""Weeks are 14 .. 20, 21 .. 27 and 35 .. 41."""
NEVER = np.iinfo(np.int64).max

STATE = State(
    Past(
        first_event_U=np.array([14, 70_000]),
        first_listen_U=np.array([14, NEVER]),
        last_listen_U=np.array([70_000, -1]),
        user_G=np.array([0, 1]),
        day_G=np.array([15, 70_000]),
        counts_CG=np.array([[255, 256], [0, 70_000]], dtype=np.int32),
        tracks=Latest(np.array([3, 1 << 32]), np.array([14, 300])),
        artists=Latest(np.array([], dtype=np.int64), np.array([], dtype=np.int64)),
    ),
    EventCodes(*(Codes(pa.array(words, pa.string())) for words in (["ann", "Bö"], ["", "x"], []))),
)
HABITS_OF_WEEK: WeekHabits = (np.array([0, 70_000]), np.array([14, 15]), np.ones((2, len(HABITS)), np.float32) / 3)


def equal(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return all(equal(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))  # type: ignore[arg-type]


def test_weeks_begin_on_thursdays_and_are_named_by_all_that_came_before() -> None:
    weeks = weeks_of(DAYS, UserShard((0, 64)), as_of_day=37)
    assert [(week.first, week.end, len(week.days)) for week in weeks] == [(14, 21, 2), (21, 28, 1), (35, 37, 2)]
    changed = weeks_of([*DAYS[:2], Day(22, "22", "other"), *DAYS[3:]], UserShard((0, 64)), as_of_day=37)
    assert [week.key == other.key for week, other in zip(weeks, changed, strict=True)] == [True, False, False]
    others = [UserShard((0, 32)), UserShard((0, 1)), UserShard((0, 1), 0, 2), UserShard((0, 1), 1, 2)]
    keys = {weeks_of(DAYS, users, as_of_day=37)[0].key for users in others}
    assert len(keys) == 4 and weeks[0].key not in keys


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    weeks = weeks_of(DAYS, UserShard((0, 64)), as_of_day=37)
    cache = HabitsCache(Folder.at(tmp_path), weeks)
    assert cache.resume()[1] == 0
    for week in weeks:
        cache.store(week, HABITS_OF_WEEK, STATE)
    assert sorted(cache.files) == Folder.at(tmp_path).files()
    assert all(equal(array, stored) for array, stored in zip(HABITS_OF_WEEK, cache.habits(weeks[1]), strict=True))
    state, done = cache.resume()
    assert done == 3 and equal(state.past, STATE.past)
    for codes, stored in zip(vars(STATE.codes).values(), vars(state.codes).values(), strict=True):
        assert stored.known.equals(codes.known)


def test_a_state_counts_only_with_the_habits_of_all_weeks_before_it(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    cache = HabitsCache(folder, weeks_of(DAYS, UserShard((0, 64)), as_of_day=37))
    for week in weeks_of(DAYS, UserShard((0, 64)), as_of_day=37):
        cache.store(week, HABITS_OF_WEEK, STATE)
    habits = cache.files[:3]
    folder.delete(habits[2])
    assert cache.resume()[1] == 2
    folder.delete(habits[0])
    assert cache.resume()[1] == 0
