"""The libraries of users of the simulated log: what they have found, and the spells in which they return to it."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.draws import Ints, draw_places
from pipelines.simulation.library_config import LibraryConfig

STRETCH = 40
"""Number of tracks of a spell. The first come up most."""
SEARCH = 16
"""Number of tracks of spells that a user considers before turning to the favourites."""


class Library:
    """The libraries of a block of users, and their spells.

    A library is the tracks that a user has found, in the order of finding: so that albums are in it as they were heard,
    and what was found on one evening is a playlist. A track's position is its number in the library, from 0; the oldest
    tracks leave a full library. A spell is the position at which a stretch begins that the user returns to for weeks:
    of something new, or of what was found long ago. Spells are the slow clock of a long history, as most of what is
    played this month is in one of them, while the mood of a session decides what of it comes next.
    """

    def __init__(self, tracks: Ints, track_genre: Ints, config: LibraryConfig) -> None:
        """Begin with what users had found before the log.

        Args:
            tracks: [user, position] tracks of each library.
            track_genre: genre of every track of the catalogue.
            config: size of the libraries, and habits.
        """
        users, count = tracks.shape
        self._track_genre = track_genre
        self._ends = 1.0 / config.spell_days
        self.tracks = np.full((users, config.size), -1, np.int32)
        self.tracks[:, np.arange(count) % config.size] = tracks
        self.count = np.full(users, count)
        self.spells = np.full((users, config.spells), -1, np.int32)

    def add(self, user: Ints, track: Ints) -> None:
        """Put a track at the end of each user's library; no user twice."""
        count = self.count[user]
        self.tracks[user, count % self.tracks.shape[1]] = track
        self.count[user] = count + 1

    def find(self, rng: np.random.Generator, user: Ints, mood: Ints, last: Ints) -> tuple[Ints, Ints]:
        """Return a track of a spell that suits the mood, and its position; -1 where none of some candidates does."""
        shape = (len(user), SEARCH)
        begin = self.spells[user[:, None], rng.integers(self.spells.shape[1], size=shape)]
        position = begin + draw_places(rng, begin.size, STRETCH).reshape(shape)
        track = np.where(begin >= 0, self._at(user[:, None], position), -1)
        fits = (track >= 0) & (track != last[:, None]) & (self._track_genre[track] == mood[:, None])
        found, first = fits.any(axis=1), (np.arange(len(user)), fits.argmax(axis=1))
        return np.where(found, track[first], -1), np.where(found, position[first], -1)

    def onwards(self, user: Ints, position: Ints, mood: Ints) -> Ints:
        """Return the track behind each position, or -1 where there is none or it misses the mood."""
        track = self._at(user, position + 1)
        return np.where(self._track_genre[track] == mood, track, -1)

    def turn(self, rng: np.random.Generator) -> None:
        """Let a day pass: some spells end, and for each another one begins anywhere in the library."""
        empty = self.spells < 0
        user, spell = np.nonzero((rng.random(self.spells.shape, np.float32) < self._ends) | empty)
        kept = np.minimum(self.count[user], self.tracks.shape[1])
        self.spells[user, spell] = self.count[user] - kept + (kept * rng.random(len(user))).astype(np.int64)

    def begin_spells(self, rng: np.random.Generator, user: Ints) -> None:
        """Begin a spell with the latest find of each of the users, no user twice, in place of another spell."""
        self.spells[user, rng.integers(self.spells.shape[1], size=len(user))] = self.count[user] - 1

    def _at(self, user: Ints, position: Ints) -> Ints:
        """Return the tracks at positions, or -1 where they have left the library or are still to come."""
        count, size = self.count[user], self.tracks.shape[1]
        there = (position < count) & (position >= count - size)
        return np.where(there, self.tracks[user, position % size], -1)
