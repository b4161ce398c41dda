"""Habits of one user as of a day, from all of the user's listens: those of a user who goes on listening."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US, HOUR_US
from fsvae.features.habits import DAY_COUNTS, by_weekday, habits_of
from fsvae.features.slow import WINDOW_DAYS

OTHER_EVENTS = slice(1, 4)
"""Places in DAY_COUNTS of what is no listen: skips, likes, saves."""


def live_habits(
    track_N: NDArray[np.int32],
    artist_N: NDArray[np.int64],
    played_at_N: NDArray[np.int64],
    others_C: NDArray[np.int32],
    day: int,
) -> NDArray[np.float32]:
    """Return HABITS of a user's snapshot, [len(HABITS)] float32; the same as `habits` gives for these listens.

    Args:
        track_N: [N] tracks of all listens, in order of time; at least one is before the day.
        artist_N: [N] their artists, -1 where it is not known.
        played_at_N: [N] times [us since 1970 UTC].
        others_C: [3] numbers of events in the window that are OTHER_EVENTS.
        day: day of the snapshot [days since 1970 UTC]; listens from then on do not count.
    """
    before = slice(0, int(np.searchsorted(played_at_N, day * DAY_US)))
    track_N, artist_N, played_at_N = track_N[before], artist_N[before], played_at_N[before]
    day_N = played_at_N // DAY_US
    first_N = np.zeros(len(track_N), dtype=np.bool_)
    first_N[np.unique(track_N, return_index=True)[1]] = True
    inside = slice(int(np.searchsorted(day_N, day - WINDOW_DAYS)), None)
    artist = artist_N[inside]
    counts = np.zeros((len(DAY_COUNTS), 1), dtype=np.int32)
    counts[0] = len(track_N[inside])
    counts[OTHER_EVENTS, 0] = others_C
    counts[4] = counts[0] - first_N[inside].sum()
    counts[5:, 0] = np.bincount(played_at_N[inside] // HOUR_US % 24, minlength=24)
    found = habits_of(
        np.ones(1, dtype=np.bool_),
        counts,
        by_weekday(np.ones(len(artist), dtype=np.int32), day_N[inside]).sum(axis=1, keepdims=True, dtype=np.int32),
        np.array([len(np.unique(track_N[inside]))]),
        np.array([len(np.unique(artist[artist >= 0]))]),
        np.array([day - day_N[0]]),
        np.array([day - day_N[-1]]),
    )
    return np.asarray(found[0])
