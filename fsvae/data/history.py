"""The listens before each position of a history, for all positions at once: the past of counts and neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.data.listens import Listens
from fsvae.features.sessions import is_session_start

NO_KEY = -1
"""Key of a position that has nothing before it."""


class Earlier(NamedTuple):
    """P pairs of a target and an earlier position with its key."""

    row: NDArray[np.int64]
    """[P] indices of the targets in their block, ascending."""
    position: NDArray[np.int64]
    """[P] earlier positions; the latest one of each target first."""
    age: NDArray[np.int64]
    """[P] ages: 0 for the latest position of its target, 1 for the one before, …"""


class Occurrences:
    """An index of positions by key (such as user and last track), which finds earlier positions of the same key."""

    def __init__(self, key: NDArray[np.int64]) -> None:
        """Sort the positions of a log by their key, [N]; keys of different users differ."""
        self._has_key = key != NO_KEY
        self._order = np.argsort(key, kind="stable")
        ordered = key[self._order]
        opens = np.append(True, ordered[1:] != ordered[:-1])[: len(key)]
        begins = np.maximum.accumulate(np.where(opens, np.arange(len(key)), 0))
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(key))
        self._rank = (np.arange(len(key)) - begins)[self._place]

    def before(self, targets: NDArray[np.int64], at_most: int) -> Earlier:
        """Return, for each of T flat positions, the latest `at_most` earlier ones with its key."""
        count = np.where(self._has_key[targets], np.minimum(self._rank[targets], at_most), 0)
        row = np.repeat(np.arange(len(targets)), count)
        age = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return Earlier(row, self._order[self._place[targets][row] - 1 - age], age)


def tracks_before(listens: Listens, steps: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the track that the same user heard `steps` listens before each listen, or NO_KEY, [N].

    Args:
        listens: all listens.
        steps: how many listens before.
        rows: [N] flat positions; by default all.
    """
    rows = np.arange(len(listens)) if rows is None else rows
    has = rows - steps >= listens.offsets[listens.user[rows]]
    return np.where(has, listens.track[np.where(has, rows - steps, 0)], NO_KEY)


def joint_key(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one key for each pair of keys, numbered from 0; NO_KEY where either is, [N]."""
    both = (first != NO_KEY) & (second != NO_KEY)
    joint = np.full(len(first), NO_KEY, dtype=np.int64)
    span = int(second.max(initial=0)) + 1
    joint[both] = np.unique(first[both] * span + second[both], return_inverse=True)[1]
    return joint


def session_begins(listens: Listens) -> NDArray[np.int64]:
    """Return the flat position of the first listen of each listen's session, [N]."""
    opens = is_session_start(listens.played_at, listens.previous_at)
    return np.asarray(np.flatnonzero(opens)[np.cumsum(opens) - 1], dtype=np.int64)


def blocks(targets: NDArray[np.int64], n_tracks: int, at_most: int) -> Iterator[NDArray[np.int64]]:
    """Yield the targets in blocks of at most `at_most`, whose scores of all tracks fit in 128 MiB of float32."""
    rows = max(1, min(at_most, (1 << 25) // max(n_tracks, 1)))
    for i in range(0, len(targets), rows):
        yield targets[i : i + rows]
