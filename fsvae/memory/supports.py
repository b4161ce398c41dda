"""What the memory held before every listen of a dataset: the inputs of the gates, and the counts of each target.

Legend: N listens, E experts, X contexts, B age buckets, R records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from fsvae.data.dataset import Dataset
from fsvae.memory.contexts import EXPERTS, N_CONTEXTS, OWN
from fsvae.memory.own import own_supports
from fsvae.memory.shared import SharedMemory, SharedTables

BLOCKS = 8
"""Number of blocks of the training period, equal in listens; everybody's counts are read as of a block's begin."""
RECORD_HALF_LIVES = (4.0, 40.0)
"""Half-lives of the track records, in listens."""


_ANY = len(EXPERTS) - 1
"""Expert of all tracks that were heard, the last of `contexts.POPULARITY`."""


class Supports(NamedTuple):
    """What the memory held before N listens."""

    total_NE: Tensor
    """Faded number of the followers of each expert's context."""
    count_NE: Tensor
    """Faded number of those that are the listen's own track; 0 for a request."""
    distinct_NX: Tensor
    """Number of distinct followers of each context."""
    top_NX: Tensor
    """Share of the most frequent follower."""
    age_N: Tensor
    """int64 age bucket of the listen's own track, -1 where the user had not heard it."""
    ages_NB: Tensor
    """Number of tracks in each age bucket."""
    record_NR: Tensor
    """Track record of each expert with this user, for each of RECORD_HALF_LIVES."""
    block_N: Tensor
    """int64 block of the training period, from 0; BLOCKS after it."""

    @property
    def is_new(self) -> Tensor:
        """Return whether nobody had heard the listen's own track, although something was heard, [N]."""
        return (self.count_NE[:, _ANY] == 0) & (self.total_NE[:, _ANY] > 0)

    def at(self, rows: Tensor) -> Supports:
        """Return the supports of some listens."""
        return Supports(*(part[rows] for part in self))


class Remembered(NamedTuple):
    """What the memory held before every listen of a dataset."""

    supports: Supports
    tables: list[tuple[int, SharedTables]]
    """Ascending times [us], and everybody's counts as of each, which hold up to the next one."""
    records_U: NDArray[np.float64]
    """Sums of each user's track records after all listens (`records`), [U, half-lives, 2, E]."""

    def segments(self, begin_us: int, end_us: int) -> Iterator[tuple[int, int, SharedTables]]:
        """Yield the parts of [begin_us, end_us) in which everybody's counts stand still, and the counts."""
        ends = [time for time, _ in self.tables[1:]] + [np.iinfo(np.int64).max]
        for (begin, tables), end in zip(self.tables, ends, strict=True):
            if max(begin, begin_us) < min(end, end_us):
                yield max(begin, begin_us), min(end, end_us), tables


def block_begins(dataset: Dataset) -> list[int]:
    """Return the begins [us] of the blocks of the training period but the first, ascending."""
    played_at = dataset.listens.played_at
    trained = np.sort(played_at[played_at < dataset.period("train")[1]])
    return [int(trained[len(trained) * block // BLOCKS]) for block in range(1, BLOCKS)] if len(trained) else []


def remember(
    dataset: Dataset, refreshed_at: Sequence[int] = (), tables_from: int = np.iinfo(np.int64).max
) -> Remembered:
    """Return what the memory held before all listens of a dataset, and everybody's counts from a time [us] on.

    In the training period everybody's counts are those up to the begin of the listen's block, afterwards those at the
    end of the training period (*frozen*), or at the latest of the times `refreshed_at` [us] (*live*).
    """
    listens, n_tracks = dataset.listens, len(dataset.tracks)
    own = own_supports(listens, n_tracks)
    until = dataset.period("train")[1]
    blocks = block_begins(dataset)
    times = sorted({*blocks, until, *(time for time in refreshed_at if time > until)})
    memory = SharedMemory(n_tracks)
    tables, kept = memory.tables(), []
    block = np.searchsorted(np.array([*blocks, until]), listens.played_at, side="right")
    shared = [np.zeros((len(listens), N_CONTEXTS - len(OWN)), dtype=np.float32) for _ in range(4)]
    for begin, end in pairwise([np.iinfo(np.int64).min, *times, np.iinfo(np.int64).max]):
        if end > tables_from or end == np.iinfo(np.int64).max:
            kept.append((begin, tables))
        rows = listens.between(begin, end)
        for whole, part in zip(shared, tables.supports(listens, rows), strict=True):
            whole[rows] = part
        if end in times:
            memory.add(listens, rows, end)
            tables = memory.tables()
    total = np.concatenate([own.total_NE, shared[0]], axis=1)
    count = np.concatenate([own.count_NE, shared[1]], axis=1)
    found = [records(listens.offsets, total, count, half_life) for half_life in RECORD_HALF_LIVES]
    supports = Supports(
        torch.from_numpy(total),
        torch.from_numpy(count),
        torch.from_numpy(np.concatenate([own.distinct_NX, shared[2]], axis=1)),
        torch.from_numpy(np.concatenate([own.top_NX, shared[3]], axis=1)),
        torch.from_numpy(own.age_N.astype(np.int64)),
        torch.from_numpy(own.ages_NB),
        torch.from_numpy(np.concatenate([record for record, _ in found], axis=1)),
        torch.from_numpy(block),
    )
    return Remembered(supports, kept, np.stack([sums for _, sums in found], axis=1))


@njit(cache=True, nogil=True)
def records(
    offsets: NDArray[np.int64], total: NDArray[np.float32], count: NDArray[np.float32], half_life: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return each expert's track record before each listen, [N, E], and the sums after the last one, [U, 2, E].

    A record is the faded mean of the square root of the probability that the expert gave to what the user really
    played, over the listens before which it had one, with one more of 0.
    """
    n, experts = total.shape
    out = np.zeros((n, experts), np.float32)
    sums = np.zeros((len(offsets) - 1, 2, experts))
    for u in range(len(offsets) - 1):
        for i in range(offsets[u], offsets[u + 1]):
            for e in range(experts):
                out[i, e] = sums[u, 0, e] / (sums[u, 1, e] + 1.0)
            add_to_record(sums[u], total[i], count[i], half_life)
    return out, sums


@njit(cache=True, nogil=True)
def add_to_record(
    sums: NDArray[np.float64], total: NDArray[np.float32], count: NDArray[np.float32], half_life: float
) -> None:
    """Add one listen to the sums of a track record, [2, E], in place."""
    fading = 2.0 ** (-1.0 / half_life)
    for e in range(len(total)):
        if total[e] > 1e-4:
            sums[0, e] = sums[0, e] * fading + np.sqrt(min(count[e] / total[e], 1.0))
            sums[1, e] = sums[1, e] * fading + 1.0
