"""A table of counts: how often each track followed each key.

Legend: N listens, U keys, E entries, T tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from fsvae.data.history import NO_KEY
from fsvae.data.listens import offsets_of

_MIX = np.uint64(0x9E3779B97F4A7C15)


def key_of(tracks: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one key for some preceding tracks, perhaps with the bucket of a pause, [N].

    The key of a single track is its index; of more it is a hash of 62 bits of their indices in order.

    Args:
        tracks: [N] indices each, the latest track first; NO_KEY where the user had not so many listens, which makes
            the key NO_KEY, too.
    """
    key = tracks[0].astype(np.uint64)
    missing = tracks[0] == NO_KEY
    for other in tracks[1:]:
        key = (key ^ (key >> np.uint64(29))) * _MIX + other.astype(np.uint64)
        missing |= other == NO_KEY
    if len(tracks) > 1:
        key = (key ^ (key >> np.uint64(32))) * _MIX >> np.uint64(2)
    return np.where(missing, NO_KEY, key.astype(np.int64))


@dataclass(frozen=True)
class CountTable:
    """How often each track followed each key: an entry for each pair, in order of key, then track."""

    key_U: NDArray[np.int64]
    """Keys (`key_of`), ascending."""
    begin_U: NDArray[np.int64]
    """[U + 1] place of the first entry of each key, and the number of entries."""
    track_E: NDArray[np.int32]
    """Track that followed."""
    count_E: NDArray[np.float32]
    """How often it did."""
    total_U: NDArray[np.float32]
    """Sum of the counts of each key."""
    top_U: NDArray[np.float32]
    """Share of the most frequent follower of each key."""

    @classmethod
    def of(cls, counts: pl.DataFrame) -> CountTable:
        """Return the table of a frame with the columns key, track and count, one row an entry."""
        counts = counts.sort("key", "track")
        key, size = np.unique(counts["key"].to_numpy(), return_counts=True)
        begin, count = offsets_of(size), counts["count"].to_numpy()
        total, most = (of.reduceat(count, begin[:-1]) if len(key) else count for of in (np.add, np.maximum))
        top = (most / total).astype(np.float32)
        return cls(key, begin, counts["track"].to_numpy(), count, total.astype(np.float32), top)

    def rows(self, key_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each key among `key_U`, [N]; -1 where it is not in the table."""
        if not len(self.key_U):
            return np.full(len(key_N), -1, dtype=np.int64)
        # not `clip`, which takes ten times as long for the single key of a request
        place = np.minimum(np.searchsorted(self.key_U, key_N), len(self.key_U) - 1)
        return np.where((self.key_U[place] == key_N) & (key_N != NO_KEY), place, -1)

    def look_up(self, place_N: NDArray[np.int64], track_N: NDArray[np.int64], count_N: NDArray[np.float32]) -> None:
        """Write the count of a track among the followers of each key, given by its place (`rows`), where it is one."""
        _look_up(place_N, track_N, self.begin_U, self.track_E, self.count_E, count_N)

    def add_rows(
        self,
        place_N: NDArray[np.int64],
        weight_N: NDArray[np.float32],
        less_N: NDArray[np.float32],
        out_NT: NDArray[np.float32],
    ) -> None:
        """Add the weighted counts of all followers of each key, given by its place (`rows`), less a part of each."""
        weight, less = np.ascontiguousarray(weight_N), np.ascontiguousarray(less_N)
        _add_entries(place_N, self.begin_U, self.track_E, self.count_E, weight, less, out_NT)


@njit(cache=True, nogil=True)
def _look_up(place, track, begin, follower, times, count):  # type: ignore[no-untyped-def]
    """Write the count of each listen's own track among the followers of its key, which are in order of track."""
    for r in range(len(place)):
        if place[r] >= 0:
            low, high = begin[place[r]], begin[place[r] + 1]
            j = low + np.searchsorted(follower[low:high], track[r])
            if j < high and follower[j] == track[r]:
                count[r] = times[j]


@njit(cache=True, nogil=True)
def _add_entries(place, begin, follower, times, weight, less, out):  # type: ignore[no-untyped-def]
    """Add the weighted counts of each listen's followers to its row of probabilities."""
    for r in range(len(place)):
        if place[r] >= 0 and weight[r] > 0:
            for j in range(begin[place[r]], begin[place[r] + 1]):
                out[r, follower[j]] += weight[r] * times[j] - less[r]
