"""Histories of many users as flat arrays, shared by training, evaluation and the export of states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fsvae.features.sessions import previous_times

NOT_HEARD = np.iinfo(np.int64).max
"""Time of the first listen to a track that nobody has listened to."""


def offsets_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the begin of each of some runs, one directly after the other, and the end of the last one, [runs + 1]."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def in_runs(begin: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of all elements of some runs, run after run, [sum of lengths].

    Args:
        begin: [runs] place of each run's first element.
        lengths: [runs] number of elements of each.
    """
    return np.arange(lengths.sum()) + np.repeat(begin - np.cumsum(lengths) + lengths, lengths)


@dataclass(frozen=True)
class Listens:
    """The listens of U users, user after user, each in order of time."""

    offsets: NDArray[np.int64]
    """[U + 1] flat positions: the listens of user u are offsets[u] .. offsets[u + 1]."""
    track: NDArray[np.int32]
    """[N] track index; that of a track which the dataset does not know is its number of tracks."""
    played_at: NDArray[np.int64]
    """[N] microseconds since 1970 UTC."""
    played_fraction: NDArray[np.float32]
    """[N] share of the track that was heard, 1 where the log does not tell."""

    def __len__(self) -> int:
        return len(self.track)

    @property
    def n_users(self) -> int:
        """Return the number of users, U."""
        return len(self.offsets) - 1

    @cached_property
    def user(self) -> NDArray[np.int64]:
        """Return the user of each listen, [N]."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    @cached_property
    def previous_at(self) -> NDArray[np.int64]:
        """Return the time of the same user's listen before, or `sessions.NEVER`, [N]."""
        return previous_times(self.offsets, self.played_at)

    @cached_property
    def n_before(self) -> NDArray[np.int64]:
        """Return how many listens of the same user come before, [N]."""
        return np.arange(len(self)) - self.offsets[self.user]

    def between(self, begin_us: int, end_us: int) -> NDArray[np.int64]:
        """Return the flat positions of the listens in [begin_us, end_us)."""
        return np.flatnonzero((self.played_at >= begin_us) & (self.played_at < end_us))

    def first_heard_at(self, n_tracks: int) -> NDArray[np.int64]:
        """Return the time [us] of the earliest listen to each of the first `n_tracks` tracks, or NOT_HEARD, [T]."""
        first = np.full(n_tracks, NOT_HEARD, dtype=np.int64)
        known = self.track < n_tracks
        np.minimum.at(first, self.track[known], self.played_at[known])
        return first

    def with_tracks(self, track: NDArray[np.int32]) -> Listens:
        """Return the same listens with other track indices."""
        return replace(self, track=track)
