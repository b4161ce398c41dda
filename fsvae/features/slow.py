"""Slow features: a summary of a user's last 28 days, as of 00:00 UTC of a day.

A snapshot of day D holds events of the days before D and nothing later, so it may be used for every request of day D.
It has two parts: the habits below (`fsvae.features.habits`), which a prepared dataset holds, and the taste, decayed
mean track vectors (`fsvae.features.taste`), which is computed from the track space when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_DAYS = 28
HALF_LIVES_DAYS = (1.0, 7.0, 28.0)

HABITS = (
    "known",
    *("log_listens", "log_skips", "log_likes", "log_saves", "log_repeats", "log_distinct_tracks"),
    *("log_distinct_artists", "repeat_share", "log_tenure_days", "log_recency_days"),
    *(f"hour_{hour:02d}_share" for hour in range(24)),
    *(f"weekday_{day}_share" for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
)
"""Names of the habits, in order; docs/slow_features.md says what each is made of."""


@dataclass(frozen=True)
class Events:
    """Events of some users, each user's in order of time: equally long arrays, one element an event.

    `user`, `track` and `artist` are indices (artist -1: not known), `kind` indexes `schema.KINDS`,
    `played_at` is in microseconds since 1970 UTC.
    """

    user: NDArray[np.int64]
    track: NDArray[np.int64]
    artist: NDArray[np.int64]
    kind: NDArray[np.int8]
    played_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)
