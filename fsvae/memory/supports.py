"""What the memory held before every listen of a dataset: the inputs of the gates, and the counts of each target.

Legend: N listens, U users, E experts, X contexts, B age buckets, R track records: half-lives times experts.
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
from fsvae.features.artists import artist_codes
from fsvae.memory.contexts import EXPERTS, LEAST_TOTAL, N_CONTEXTS, N_OWN, OWN
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
    """Faded count of all followers of each expert's context; 0: the expert has no support."""
    count_NE: Tensor
    """Faded count of the listen's own track among them; 0 for a request, which has none."""
    distinct_NX: Tensor
    """Number of distinct followers of each context."""
    top_NX: Tensor
    """Share of the most frequent follower of each context."""
    age_N: Tensor
    """int64 age bucket of the listen's own track, -1 where the user had not heard it."""
    ages_NB: Tensor
    """Number of tracks in each age bucket."""
    record_NR: Tensor
    """Track record of each expert with this user (`records`), by the first of RECORD_HALF_LIVES, then by the next."""

    @property
    def is_new(self) -> Tensor:
        """Return whether everybody's counts lack the listen's own track, although they hold others, [N] bool."""
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
    """[U, half-lives, 2, E] sums of each user's track records after all of the user's listens (`records`)."""

    def segments(self, begin_us: int, end_us: int) -> Iterator[tuple[int, int, SharedTables]]:
        """Yield begin [us], end [us] and counts of each part of [begin_us, end_us) in which everybody's stand still."""
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
    """Return what the memory held before each listen of a dataset, and everybody's counts from a time on.

    The user's own counts go up to the listen. Everybody's are in the training period those as of the begin of the
    listen's block, and after it those as of its end (*frozen*), or as of the latest of `refreshed_at` that is no later
    than the listen (*live*).

    Args:
        dataset: the dataset.
        refreshed_at: times [us] at which everybody's counts are brought up to date; those in the training period are
            passed over.
        tables_from: time [us] from which on `Remembered.tables` has everybody's counts; by default the last ones only.
    """
    listens, artist_T = dataset.listens, artist_codes(dataset.tracks)
    # a training period that ends after the last listen does not make everybody's latest listens old
    until = min(dataset.period("train")[1], int(listens.played_at.max(initial=0)) + 1)
    blocks = block_begins(dataset)
    times = sorted({*blocks, until, *(time for time in refreshed_at if time > until)})
    memory = SharedMemory(listens, artist_T)
    tables, kept = memory.tables(), []
    n = len(listens)
    total, count = (np.zeros((n, len(EXPERTS)), dtype=np.float32) for _ in range(2))
    distinct, top = (np.zeros((n, N_CONTEXTS), dtype=np.float32) for _ in range(2))
    total[:, :N_OWN], count[:, :N_OWN], distinct[:, : len(OWN)], top[:, : len(OWN)], age, ages = own_supports(
        listens, artist_T
    )
    shared = total[:, N_OWN:], count[:, N_OWN:], distinct[:, len(OWN) :], top[:, len(OWN) :]
    for begin, end in pairwise([np.iinfo(np.int64).min, *times, np.iinfo(np.int64).max]):
        if end > tables_from or end == np.iinfo(np.int64).max:
            kept.append((begin, tables))
        rows = listens.between(begin, end)
        for whole, part in zip(shared, tables.supports(listens, rows, tables.places(listens, rows)), strict=True):
            whole[rows] = part
        if end in times:
            memory.add(rows, end)
            tables = memory.tables()
    record = np.zeros((n, len(RECORD_HALF_LIVES), len(EXPERTS)), dtype=np.float32)
    sums = [records(listens.offsets, total, count, hl, record[:, i]) for i, hl in enumerate(RECORD_HALF_LIVES)]
    arrays = total, count, distinct, top, age.astype(np.int64), ages, record.reshape(n, -1)
    return Remembered(Supports(*map(torch.from_numpy, arrays)), kept, np.stack(sums, axis=1))


@njit(cache=True, nogil=True)
def records(
    offsets: NDArray[np.int64],
    total: NDArray[np.float32],
    count: NDArray[np.float32],
    half_life: float,
    out: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Write each expert's track record before each listen; return the sums after each user's last one, [U, 2, E].

    A record, from 0 to 1, is the faded mean of the square root of the probability that the expert gave to what the
    user really played. It is over the listens at which the expert had support, and one more of 0, from which it begins.

    Args:
        offsets: [U + 1] place of each user's first listen, and the number of listens.
        total: [N, E] faded counts of all followers.
        count: [N, E] faded counts of what the user really played.
        half_life: half-life [listens at which the expert had support].
        out: [N, E] written to.
    """
    experts = total.shape[1]
    sums = np.zeros((len(offsets) - 1, 2, experts))
    for u in range(len(offsets) - 1):
        for i in range(offsets[u], offsets[u + 1]):
            for e in range(experts):
                out[i, e] = sums[u, 0, e] / (sums[u, 1, e] + 1.0)
            add_to_record(sums[u], total[i], count[i], half_life)
    return sums


@njit(cache=True, nogil=True)
def add_to_record(
    sums: NDArray[np.float64], total: NDArray[np.float32], count: NDArray[np.float32], half_life: float
) -> None:
    """Add one listen to the sums of a user's track records, [2, E], in place.

    The sums are of the square roots and of the weights; `total` and `count` are the listen's, [E].
    """
    fading = 2.0 ** (-1.0 / half_life)
    for e in range(len(total)):
        if total[e] > LEAST_TOTAL:
            sums[0, e] = sums[0, e] * fading + np.sqrt(min(count[e] / total[e], 1.0))
            sums[1, e] = sums[1, e] * fading + 1.0
