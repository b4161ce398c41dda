"""Slow features: a summary of a user's last 28 days, as of 00:00 UTC of a day.

A snapshot of day D holds events of the days before D and nothing later, so it may be used for every request of day D.
It has two parts: the habits below (`fsvae.features.habits`), which a prepared dataset holds, and the taste, decayed
mean track vectors (`fsvae.features.taste`), which is computed from the track space when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.schema import KINDS

WINDOW_DAYS = 28
HALF_LIVES_DAYS = (1.0, 7.0, 28.0)

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class SlowFeature(NamedTuple):
    """A habit: its name, unit, window and source (docs/slow_features.md)."""

    name: str
    unit: str
    window: str
    source: str


def _features() -> list[SlowFeature]:
    window = f"{WINDOW_DAYS} days before D"
    return [
        SlowFeature("known", "0 or 1", "ever before D", "any event; 0: every other feature is 0"),
        SlowFeature("log_listens", "log(1 + listens)", window, "events of kind listen"),
        SlowFeature("log_skips", "log(1 + skips)", window, "events of kind skip"),
        SlowFeature("log_likes", "log(1 + likes)", window, "events of kind like"),
        SlowFeature("log_saves", "log(1 + saves)", window, "events of kind save"),
        SlowFeature("log_repeats", "log(1 + listens)", window, "listens to a track the user had listened to before"),
        SlowFeature("log_distinct_tracks", "log(1 + tracks)", window, "track_id of listens"),
        SlowFeature("log_distinct_artists", "log(1 + artists)", window, "artist_id of listens, where the log has it"),
        SlowFeature("repeat_share", "share of listens", window, "repeats / listens"),
        SlowFeature("log_tenure_days", "log(1 + days)", "ever before D", "days from the first listen to D"),
        SlowFeature("log_recency_days", "log(1 + days)", "ever before D", "days from the latest listen to D"),
        *(
            SlowFeature(
                f"hour_{hour:02d}_share",
                "share of listens",
                window,
                f"played_at between {hour:02d} and {hour + 1:02d} h UTC",
            )
            for hour in range(24)
        ),
        *(
            SlowFeature(f"weekday_{day}_share", "share of listens", window, "weekday of played_at, UTC")
            for day in _WEEKDAYS
        ),
    ]


SLOW_FEATURES = _features()
HABITS = tuple(feature.name for feature in SLOW_FEATURES)
"""Names of the habits, in order."""


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

    def of_kind(self, kind: str) -> Events:
        """Return the events of one kind."""
        mask = self.kind == KINDS.index(kind)
        return Events(self.user[mask], self.track[mask], self.artist[mask], self.kind[mask], self.played_at[mask])
