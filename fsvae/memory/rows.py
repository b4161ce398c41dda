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
from fsvae.memory.contexts import AGES, N_OWN, OWN_TABLE
from fsvae.memory.gates import Gates
from fsvae.memory.look_back import Histories, Workspace, add_own_rows, count_candidates, look_back
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
        out = np.zeros((len(rows), self.tables.n_tracks), dtype=np.float32)
        weight, less, of_age = gates.weight_NE.numpy(), gates.less_NE.numpy(), gates.age_weight_NB.numpy()
        own_weight, own_less = weight[:, :N_OWN], less[:, :N_OWN]
        add_own_rows(self._histories, rows, own_weight, own_less, of_age, OWN_TABLE, self._work, out)
        self.tables.add_rows(self._listens, rows, self._places(rows), weight[:, N_OWN:], less[:, N_OWN:], out)
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

    def supports(self, row: int, records: NDArray[np.float64]) -> Supports:
        """Return what the memory held before one listen: the same as `remember` gives for all, for a batch of one.

        Args:
            row: flat position of the listen.
            records: sums of the user's track records before it, [half-lives, 2, E].
        """
        listens, work = self._listens, self._work
        found = look_back(self._histories, row, OWN_TABLE, work)
        track, counts, times = work.track_M[:found], work.count_ME[:found], work.times_MX[:found]
        own = track == listens.track[row]
        age = work.age_M[:found]
        shared = self.tables.supports(listens, np.array([row]), self._places(np.array([row])))
        heard = times.sum(axis=0)
        joined = (
            (counts.sum(axis=0), shared[0]),
            (counts[own].sum(axis=0), shared[1]),
            ((times > 0).sum(axis=0), shared[2]),
            (times.max(axis=0, initial=0) / np.maximum(heard, 1), shared[3]),
        )
        total, count, distinct, top = (np.append(a, b[0])[None].astype(np.float32) for a, b in joined)
        return Supports(
            total_NE=torch.from_numpy(total),
            count_NE=torch.from_numpy(count),
            distinct_NX=torch.from_numpy(distinct),
            top_NX=torch.from_numpy(top),
            age_N=torch.from_numpy(np.append(age[own], -1)[:1]),
            ages_NB=torch.from_numpy(np.bincount(age, minlength=AGES)[None].astype(np.float32)),
            record_NR=torch.from_numpy((records[:, 0] / (records[:, 1] + 1)).reshape(1, -1).astype(np.float32)),
        )


class MemoryRows(NamedTuple):
    """The memory before the N targets of a batch, in their order."""

    memory: Memory
    listens: NDArray[np.int64]
    """[N] flat positions of the targets."""

    def probabilities(self, gates: Gates) -> NDArray[np.float32]:
        """Return the memory's part of p(track), [N, T], given the targets' gates."""
        return self.memory.probabilities(self.listens, gates)

    def latest(self, number: int) -> NDArray[np.int64]:
        """Return the users' latest tracks before the targets, the last one first, [N, number]; else NO_KEY."""
        return self.memory.latest(self.listens, number)

    def candidates(self, candidate_NK: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the users, and everybody, did with some candidates (`Memory.candidates`)."""
        return self.memory.candidates(self.listens, candidate_NK)
