"""Libraries of simulated users, on shelves that are small enough to be followed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.simulation.library import STRETCH, Library
from pipelines.simulation.library_config import LibraryConfig
from pipelines.simulation.listening import Listening
from pipelines.simulation.simulate import SimulateConfig
from pipelines.simulation.simulated_events import Events
from pipelines.simulation.users import draw_users
from pipelines.simulation.world import build_world

GENRE = np.arange(1000) % 2
"""Even tracks are of genre 0, odd ones of genre 1."""
RNG = np.random.default_rng(0)
ONE = np.array([0])
"""The only user."""


def library(*tracks: int, spells: int = 1, days: float = 30.0) -> Library:
    """The library of one user, of 100 tracks at most."""
    shelf = Library(np.array([tracks[:1]]), GENRE, LibraryConfig(size=100, spells=spells, spell_days=days))
    for track in tracks[1:]:
        shelf.add(ONE, np.array([track]))
    return shelf


def onwards(shelf: Library, position: int, mood: int) -> int:
    return int(shelf.onwards(ONE, np.array([position]), np.array([mood]))[0])


def test_a_stretch_goes_on_with_the_next_find_of_the_mood() -> None:
    shelf = library(4, 6, 7)
    assert onwards(shelf, 0, mood=0) == 6
    assert (onwards(shelf, 1, mood=0), onwards(shelf, 1, mood=1)) == (-1, 7)
    assert onwards(shelf, 2, mood=0) == -1  # what follows is still to come


def test_the_oldest_tracks_leave_a_full_library() -> None:
    shelf = library(*range(0, 300, 2))  # 150 tracks, of which those from the 50th are left
    assert (onwards(shelf, 48, mood=0), onwards(shelf, 49, mood=0)) == (-1, 100)


def test_what_is_found_is_of_a_spell_and_of_the_mood() -> None:
    shelf = library(*range(100))
    user, mood, other = np.zeros(2000, int), np.arange(2000) % 2, np.full(2000, 999)
    track, position = shelf.find(RNG, user, mood, other)
    assert set(track.tolist()) == set(position.tolist()) == {-1}  # no spell has begun
    shelf.spells[0, 0] = 30
    track, position = shelf.find(RNG, user, mood, other)
    assert (track == position).all()  # in this library; and of many candidates one suits either mood
    assert (GENRE[track] == mood).all()
    assert (track.min(), track.max()) == (30, 30 + STRETCH - 1)
    # A place below half of the stretch is a uniform number to the power of 1.75 below a half.
    assert (track < 30 + STRETCH // 2).mean() == pytest.approx(0.5 ** (1 / 1.75), abs=0.04)
    assert 30 not in shelf.find(RNG, user, mood, np.full(2000, 30))[0]  # the track just heard
    assert set(shelf.find(RNG, user, mood + 2, other)[0].tolist()) == {-1}


def test_a_spell_begins_with_the_latest_find() -> None:
    shelf = library(5, 7, 9)
    shelf.begin_spells(RNG, ONE)
    assert shelf.spells.tolist() == [[2]]


def test_spells_last_for_days_and_the_next_ones_begin_anywhere_in_the_library() -> None:
    shelf = library(*range(0, 300, 2), spells=20_000, days=10.0)
    shelf.turn(RNG)
    assert (shelf.spells >= 0).all()  # where there is none one begins
    shelf.spells[:] = 7
    shelf.turn(RNG)
    turned = shelf.spells[shelf.spells != 7]
    assert len(turned) / 20_000 == pytest.approx(1 / 10, abs=0.01)
    assert (turned.min(), turned.max()) == (50, 149)
    assert (turned < 100).mean() == pytest.approx(0.5, abs=0.05)


def test_a_day_does_not_depend_on_how_many_follow() -> None:
    """With the same catalogue and users, the first days are the same in a log of three days and in one of a year."""
    habits = LibraryConfig(returns=0.9, adoption=0.5, breadth=0.5)
    short = SimulateConfig(users=20, tracks=200, artists=20, genres=4, days=3, sessions_per_day=3.0, library=habits)
    world = build_world(np.random.SeedSequence(0), short)

    def days(config: SimulateConfig) -> list[Events]:
        users = draw_users(np.random.SeedSequence(1), world, short, 20)
        block = Listening(world, users, config, 0)
        return [
            Events.concat(list(block.day(day, world.available(day), np.random.SeedSequence(day)))) for day in range(3)
        ]

    for one, other in zip(days(short), days(replace(short, days=365)), strict=True):
        assert len(one) > 100
        assert all(np.array_equal(column, vars(other)[name]) for name, column in vars(one).items())
