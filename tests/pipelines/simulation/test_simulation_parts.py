"""Parts of the simulator: draws, a day's schedule, the order of events, the state of a block of users."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.simulation.draws import Ints, draw_between, draw_columns, draw_places
from pipelines.simulation.library_config import LibraryConfig
from pipelines.simulation.listening import Listening
from pipelines.simulation.schedule import MAX_DAY_PLAYS, draw_schedule
from pipelines.simulation.simulate import SimulateConfig
from pipelines.simulation.simulated_events import DAY_MS, Events
from pipelines.simulation.users import draw_users
from pipelines.simulation.world import build_world

TINY = SimulateConfig(users=12, tracks=60, artists=12, genres=3, days=4, seed=3, sessions_per_day=2.0)


def test_draw_places_are_on_the_list_and_the_first_come_up_most() -> None:
    places = draw_places(np.random.default_rng(0), 100_000, 12)
    counts = np.bincount(places)
    assert len(counts) == 12 and (np.diff(counts) < 0).all()
    # A place below 6 of 12 is a uniform number to the power of 1.75 below a half.
    assert (places < 6).mean() == pytest.approx(0.5 ** (1 / 1.75), abs=0.01)


@pytest.mark.parametrize("library", [LibraryConfig(), LibraryConfig(returns=0.8)])
def test_the_state_of_a_block_does_not_grow_with_the_days(library: LibraryConfig) -> None:
    world = build_world(np.random.SeedSequence(0), TINY)
    config = replace(TINY, library=library)
    listening = Listening(world, draw_users(np.random.SeedSequence(1), world, config, config.users), config, 0)
    shelves = listening.chooser.library
    parts = [listening, listening.chooser, listening.users, *([shelves] if shelves else [])]

    def state() -> int:
        return sum(value.nbytes for part in parts for value in vars(part).values() if isinstance(value, np.ndarray))

    empty = state()
    heard = [sum(map(len, listening.day(day, world.available(day), np.random.SeedSequence(day)))) for day in range(40)]
    assert sum(heard) > 500
    assert state() == empty


def test_events_come_in_order_of_time_and_the_earlier_row_first() -> None:
    day = 3_660 * DAY_MS
    at = day + np.array([5, 3, 9, 3, 8])
    now, later = Events(at, at, at, at, at, at).in_order(until=day + 8)
    assert (now.tolist(), later.tolist()) == ([1, 3, 0], [4, 2])


def test_sessions_differ_as_widely_as_they_are_told_to() -> None:
    world = build_world(np.random.SeedSequence(0), TINY)

    def plays(**habits: float) -> Ints:
        config = replace(TINY, **habits)
        users = draw_users(np.random.SeedSequence(1), world, config, 4000)
        hours = np.cumsum(users.hours, axis=1)
        schedule = draw_schedule(np.random.default_rng(2), users, hours, 3, 3, config)
        assert (np.diff(schedule.plays) <= 0).all() and (np.diff(schedule.first) >= 0).all()
        return schedule.plays

    even = plays(activity_spread=0.0, session_spread=0.0, plays_per_session=7.0, sessions_per_day=0.05)
    assert set(even.tolist()) <= {7, 14, 21}
    assert plays(plays_per_session=60.0, session_spread=3.0, sessions_per_day=8.0).max() == MAX_DAY_PLAYS


def test_draw_between_stays_inside_its_slice_and_follows_the_weights() -> None:
    cumulative = np.array([0.0, 0.0, 3.0, 4.0, 4.0, 9.0])
    drawn = draw_between(np.random.default_rng(0), cumulative, np.zeros(4000, int), np.full(4000, 4))
    counts = np.bincount(drawn, minlength=5)
    assert counts[[0, 3, 4]].tolist() == [0, 0, 0]
    assert counts[1] / counts[2] == pytest.approx(3.0, rel=0.15)


def test_draw_columns_follows_the_weights() -> None:
    drawn = draw_columns(np.random.default_rng(0), np.tile([0.0, 1.0, 3.0, 0.0], (4000, 1)))
    counts = np.bincount(drawn, minlength=4)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert counts[2] / counts[1] == pytest.approx(3.0, rel=0.15)
