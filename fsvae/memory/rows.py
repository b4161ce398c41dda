"""Whole rows of the memory: the probability of every track before some listens.

Legend: N listens, T tracks, E experts, B age buckets, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.history import tracks_before
from fsvae.data.listens import Listens
from fsvae.memory.contexts import AGES, EXPERTS, N_CONTEXTS, N_OWN, OWN, OWN_TABLE
from fsvae.memory.gates import Gates
from fsvae.memory.look_back import (
    Heard,
    Histories,
    Workspace,
    add_own_rows,
    count_candidates,
    heard_before,
    sum_own_rows,
)
from fsvae.memory.neighbours import Votes
from fsvae.memory.shared import SharedTables
from fsvae.memory.supports import Supports

_MOST_LISTENS = 100_000
"""Number of listens before all those that are looked back from at once, about."""
_MOST_ROWS = 256


class _Before(NamedTuple):
    """What there was before some listens."""

    rows: NDArray[np.int64]
    heard: Heard
    """What the users heard."""
    places: list[NDArray[np.int64]]
    """`SharedTables.places`."""
    votes: Votes
    """Votes of the users' neighbours."""


class Memory:
    """The memory at a time: histories of users, and everybody's counts as of it."""

    def __init__(self, listens: Listens, tables: SharedTables) -> None:
        """Take both.

        Args:
            listens: histories of users; what is asked for is as of one of them.
            tables: everybody's counts.
        """
        self._listens = listens
        self.tables = tables
        self._histories = Histories.of(listens, tables.artist_T)
        longest = int(np.diff(listens.offsets).max(initial=1))
        self._work = Workspace.of(tables.n_tracks, min(longest, tables.n_tracks))
        self._found: _Before | None = None

    def probabilities(self, rows: NDArray[np.int64], gates: Gates) -> NDArray[np.float32]:
        """Return the memory's part of p(track) before the listens at some flat positions, [N, T], given their gates."""
        out = self.own_probabilities(rows, gates)
        weight, less = gates.weight_NE.numpy()[:, N_OWN:], gates.less_NE.numpy()[:, N_OWN:]
        for at, before in self._before(rows):
            self.tables.add_rows(before.places, before.votes, weight[at], less[at], out[at])
        return out

    def own_probabilities(self, rows: NDArray[np.int64], gates: Gates) -> NDArray[np.float32]:
        """Return the part that is the user's own, [N, T]."""
        out = np.zeros((len(rows), self.tables.n_tracks), dtype=np.float32)
        weight, less, of_age = gates.weight_NE.numpy(), gates.less_NE.numpy(), gates.age_weight_NB.numpy()
        weight, less = (np.ascontiguousarray(of[:, :N_OWN]) for of in (weight, less))
        for at, before in self._before(rows):
            add_own_rows(before.heard, weight[at], less[at], of_age[at], OWN_TABLE.context, out[at])
        return out

    def latest(self, rows: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Return the latest tracks before some listens, the last one first, [N, number]; else NO_KEY."""
        return np.stack([tracks_before(self._listens, lag, rows) for lag in range(1, number + 1)], axis=1)

    def candidates(
        self, rows: NDArray[np.int64], candidate_NK: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the users, and everybody, did with some candidates before the listens at some flat positions.

        Returns:
            Faded counts by all experts, [N, K, E], and how long ago the user heard each last, in listens and in days,
            [N, K, 2] (`look_back.count_candidates`).
        """
        counts = np.zeros((*candidate_NK.shape, len(EXPERTS)), dtype=np.float32)
        ago = np.zeros((*candidate_NK.shape, 2), dtype=np.float32)
        slot_T = self._work.slot_T
        for at, before in self._before(rows):
            some, heard = candidate_NK[at], before.heard
            count_candidates(heard, self._histories, before.rows, some, slot_T, counts[at, :, :N_OWN], ago[at])
            counts[at, :, N_OWN:] = self.tables.candidates(before.places, before.votes, some)
        return counts, ago

    def supports(self, rows: NDArray[np.int64], records: NDArray[np.float64]) -> Supports:
        """Return what the memory held before some listens: the same as `remember` gives for all.

        Args:
            rows: [N] flat positions of the listens.
            records: [N, half-lives, 2, E] sums of the users' track records before them.
        """
        n = len(rows)
        total, count = (np.zeros((n, len(EXPERTS)), dtype=np.float32) for _ in range(2))
        distinct, top = (np.zeros((n, N_CONTEXTS), dtype=np.float32) for _ in range(2))
        age, ages = np.full(n, -1), np.zeros((n, AGES), dtype=np.float32)
        shared = total[:, N_OWN:], count[:, N_OWN:], distinct[:, len(OWN) :], top[:, len(OWN) :]
        for at, before in self._before(rows):
            track = self._listens.track[before.rows]
            faded, followers = (total[at, :N_OWN], count[at, :N_OWN]), (distinct[at, : len(OWN)], top[at, : len(OWN)])
            sum_own_rows(before.heard, track, *faded, *followers, age[at], ages[at])
            found = self.tables.supports(self._listens, before.rows, before.places, before.votes)
            for whole, part in zip(shared, found, strict=True):
                whole[at] = part
        record = (records[:, :, 0] / (records[:, :, 1] + 1)).reshape(n, -1).astype(np.float32)
        return Supports(*map(torch.from_numpy, (total, count, distinct, top, age, ages, record)))

    def _before(self, rows: NDArray[np.int64]) -> Iterator[tuple[slice, _Before]]:
        """Yield what there was before some listens, part by part; what a part takes is bounded.

        That of the last part is kept, so that a few listens are looked back from once for all that is asked of them.
        """
        lengths = rows - self._histories.first[rows]
        part = np.maximum(np.cumsum(lengths) // _MOST_LISTENS, np.arange(len(rows)) // _MOST_ROWS)
        bounds = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(rows)]
        for begin, end in pairwise(bounds):
            some = rows[begin:end]
            if self._found is None or not np.array_equal(self._found.rows, some):
                room = int(np.minimum(lengths[begin:end], self.tables.n_tracks).sum())
                heard = Heard(*heard_before(self._histories, some, OWN_TABLE, self._work, room))
                places = self.tables.places(self._listens, some)
                self._found = _Before(some, heard, places, self.tables.sessions.votes(self._listens, some))
            yield slice(begin, end), self._found


class MemoryRows(NamedTuple):
    """The memory before the N targets of a batch, in their order."""

    memory: Memory
    listens: NDArray[np.int64]
    """[N] flat positions of the targets."""

    def probabilities(self, gates: Gates) -> NDArray[np.float32]:
        """Return the memory's part of p(track), [N, T], given the targets' gates."""
        return self.memory.probabilities(self.listens, gates)

    def own_probabilities(self, gates: Gates) -> NDArray[np.float32]:
        """Return the part of p(track) that is the user's own, [N, T]."""
        return self.memory.own_probabilities(self.listens, gates)

    def latest(self, number: int) -> NDArray[np.int64]:
        """Return the users' latest tracks before the targets, the last one first, [N, number]; else NO_KEY."""
        return self.memory.latest(self.listens, number)

    def candidates(self, candidate_NK: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the users, and everybody, did with some candidates (`Memory.candidates`)."""
        return self.memory.candidates(self.listens, candidate_NK)
