"""The taste of slow snapshots: exponentially decayed means of the vectors of the tracks a user listened to.

It depends on the track space, so it is not stored with a dataset: a snapshot's taste is computed on reading from the
sums of each active day, of which a window holds at most 28.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US
from fsvae.features.slow import HALF_LIVES_DAYS, WINDOW_DAYS

_DAY_KEYS = 1 << 22  # more days than any log has; (user, day) becomes one sortable integer


@dataclass(frozen=True)
class DaySums:
    """Sums of the track vectors of each user and day with a listen to a track that has a vector."""

    key: NDArray[np.int64]
    """[G] (user, day) as one integer, sorted."""
    total: NDArray[np.float32]
    """[G, D] sum of the track vectors of the day's listens."""
    listens: NDArray[np.int64]
    """[G] number of those listens."""

    @classmethod
    def of(
        cls,
        user: NDArray[np.int64],
        track: NDArray[np.int32],
        played_at: NDArray[np.int64],
        vectors: NDArray[np.float32],
    ) -> DaySums:
        """Sum the vectors of listens.

        Args:
            user: [N] sorted.
            track: [N] track index; one of at least len(vectors) has no vector.
            played_at: [N] microseconds since 1970 UTC, ordered within a user.
            vectors: [V, D] track vectors.
        """
        has_vector = track < len(vectors)
        keys = user[has_vector] * _DAY_KEYS + played_at[has_vector] // DAY_US
        firsts = np.flatnonzero(np.diff(keys, prepend=-1))
        bounds = np.append(firsts, len(keys))
        total = np.zeros((len(firsts), vectors.shape[1]), dtype=np.float32)
        rows = track[has_vector]
        for begin in range(0, len(firsts), _SLAB):  # the vectors of all listens at once would fill the memory
            some = slice(bounds[begin], bounds[min(begin + _SLAB, len(firsts))])
            total[begin : begin + _SLAB] = np.add.reduceat(
                vectors[rows[some]], firsts[begin : begin + _SLAB] - bounds[begin], axis=0
            )
        return cls(keys[firsts], total, np.diff(bounds))

    def taste(self, user: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the decayed mean track vectors of snapshots (user, day).

        For each half-life h the weight of a listen on day d is 2^(-(D - 1 - d) / h); listens outside the 28 days
        before D or to tracks without a vector do not count; a snapshot without any is zero.

        Returns:
            [S, len(HALF_LIVES_DAYS) * D] float32.
        """
        out = np.zeros((len(user), len(HALF_LIVES_DAYS), self.total.shape[1]), dtype=np.float32)
        _taste(self.key, self.total, self.listens, user, day, out)
        return out.reshape(len(user), -1)


@njit(cache=True, nogil=True)
def _taste(
    key: NDArray[np.int64],
    total: NDArray[np.float32],
    listens: NDArray[np.int64],
    user: NDArray[np.int64],
    day: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Write the taste of snapshots."""
    for s in range(len(user)):
        oldest = user[s] * _DAY_KEYS + max(day[s] - WINDOW_DAYS, 0)
        group = np.searchsorted(key, user[s] * _DAY_KEYS + day[s]) - 1
        weights = np.zeros(len(HALF_LIVES_DAYS))
        while group >= 0 and key[group] >= oldest:
            age = day[s] - 1 - key[group] % _DAY_KEYS
            for h in range(len(HALF_LIVES_DAYS)):
                weight = 2.0 ** (-age / HALF_LIVES_DAYS[h])
                out[s, h] += np.float32(weight) * total[group]
                weights[h] += weight * listens[group]
            group -= 1
        for h in range(len(HALF_LIVES_DAYS)):
            out[s, h] /= np.float32(max(weights[h], 1e-12))


_SLAB = 1 << 17
