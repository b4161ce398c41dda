"""Whole rows of the memory: the probability of every track before some listens.

Legend: N listens, T tracks, E experts, B age buckets, K candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.history import tracks_before
from fsvae.data.listens import Listens
from fsvae.memory.contexts import AGES, EXPERTS, N_CONTEXTS, N_OWN, OWN, OWN_TABLE
from fsvae.memory.gates import Gates
from fsvae.memory.look_back import Histories, Workspace, add_own_rows, count_candidates, sum_own_rows
from fsvae.memory.shared import SharedTables
from fsvae.memory.supports import Supports


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
        self._found: tuple[NDArray[np.int64], list[NDArray[np.int64]]] | None = None

    def probabilities(self, rows: NDArray[np.int64], gates: Gates) -> NDArray[np.float32]:
        """Return the memory's part of p(track) before the listens at some flat positions, [N, T], given their gates."""
        out = self.own_probabilities(rows, gates)
        weight, less = gates.weight_NE.numpy(), gates.less_NE.numpy()
        self.tables.add_rows(self._listens, rows, self._places(rows), weight[:, N_OWN:], less[:, N_OWN:], out)
        return out

    def own_probabilities(self, rows: NDArray[np.int64], gates: Gates) -> NDArray[np.float32]:
        """Return the part that is the user's own, [N, T]."""
        out = np.zeros((len(rows), self.tables.n_tracks), dtype=np.float32)
        weight, less, of_age = gates.weight_NE.numpy(), gates.less_NE.numpy(), gates.age_weight_NB.numpy()
        own_weight, own_less = weight[:, :N_OWN], less[:, :N_OWN]
        add_own_rows(self._histories, rows, own_weight, own_less, of_age, OWN_TABLE, self._work, out)
        return out

    def _places(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return `SharedTables.places` of some listens, looked up once for all that is asked of them in a row."""
        if self._found is None or not np.array_equal(self._found[0], rows):
            self._found = rows, self.tables.places(self._listens, rows)
        return self._found[1]

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
        own, ago = count_candidates(self._histories, rows, candidate_NK, OWN_TABLE, self._work)
        return np.concatenate(
            [own, self.tables.candidates(self._listens, rows, self._places(rows), candidate_NK)], axis=2
        ), ago

    def supports(self, rows: NDArray[np.int64], records: NDArray[np.float64]) -> Supports:
        """Return what the memory held before some listens: the same as `remember` gives for all.

        Args:
            rows: [N] flat positions of the listens.
            records: [N, half-lives, 2, E] sums of the users' track records before them.
        """
        listens, n = self._listens, len(rows)
        total, count = (np.zeros((n, len(EXPERTS)), dtype=np.float32) for _ in range(2))
        distinct, top = (np.zeros((n, N_CONTEXTS), dtype=np.float32) for _ in range(2))
        age, ages = np.full(n, -1), np.zeros((n, AGES), dtype=np.float32)
        own = total[:, :N_OWN], count[:, :N_OWN], distinct[:, : len(OWN)], top[:, : len(OWN)]
        sum_own_rows(self._histories, rows, OWN_TABLE, self._work, *own, age, ages)
        shared = total[:, N_OWN:], count[:, N_OWN:], distinct[:, len(OWN) :], top[:, len(OWN) :]
        for whole, part in zip(shared, self.tables.supports(listens, rows, self._places(rows)), strict=True):
            whole[:] = part
        record = (records[:, :, 0] / (records[:, :, 1] + 1)).reshape(n, -1).astype(np.float32)
        return Supports(*map(torch.from_numpy, (total, count, distinct, top, age, ages, record)))


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
