"""Habits as of any day after a user's latest listen: with no listen in between, days only leave the window.

So a request is answered with the snapshot that an evaluation of a listen at that time would read, whether its day is
within the dataset or long after it. Counts of a few days of each user suffice; tracks and artists need only the number
of them whose latest listen was on each day.

Shape suffixes: U users, P (user, item) pairs, G (user, day) pairs, C counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsvae.features.distinct import Latest
from fsvae.features.habits import DAY_COUNTS, Ints, Past, by_weekday, habits_of
from fsvae.features.slow import WINDOW_DAYS

RECENT_COUNTS = (*DAY_COUNTS, "latest_tracks", "latest_artists")
"""Names of the counts of a day: DAY_COUNTS, and the tracks and the artists whose latest listen is on the day."""


@dataclass(frozen=True)
class RecentDays:
    """The days with events of users with listens, from 27 days before each one's latest listen on."""

    user_G: Ints
    """[G] user of each day, ascending."""
    day_G: Ints
    """[G] days since 1970 UTC, ascending within a user."""
    counts_GC: NDArray[Any]
    """[G, C] counts of each day, whole numbers (RECENT_COUNTS)."""

    @classmethod
    def of(cls, past: Past) -> RecentDays:
        """Return the recent days of a past."""
        kept = past.last_listen_U[past.user_G] >= 0
        user_G, day_G = past.user_G[kept], past.day_G[kept]
        latest = [_on_day(items, user_G, day_G) for items in (past.tracks, past.artists)]
        counts_CG = np.concatenate([past.counts_CG[:, kept], latest])
        return cls(user_G, day_G, np.ascontiguousarray(counts_CG.T, dtype=np.int32))

    @property
    def listens(self) -> NDArray[Any]:
        """Return the number of listens on each day, [G]."""
        return self.counts_GC[:, 0]

    def rows(self, user: int) -> slice:
        """Return the rows of a user's days."""
        begin, end = np.searchsorted(self.user_G, [user, user + 1])
        return slice(int(begin), int(end))

    def habits(self, user: int, first_listen: int, day: int) -> NDArray[np.float32]:
        """Return HABITS of a user's snapshot, [len(HABITS)] float32.

        Args:
            user: row of the user.
            first_listen: day of the user's first listen [days since 1970 UTC].
            day: day of the snapshot, after the day of the latest listen [days since 1970 UTC].
        """
        rows = self.rows(user)
        day_G, counts_CG = self.day_G[rows], self.counts_GC[rows].T
        last_listen = int(day_G[counts_CG[0] > 0][-1])
        assert last_listen < day, "what the window held on an earlier day is not known"
        inside_G = (day_G >= day - WINDOW_DAYS) & (day_G < day)
        *counts_CS, tracks_S, artists_S = counts_CG[:, inside_G].sum(axis=1, keepdims=True, dtype=np.int32)
        found = habits_of(
            np.ones(1, dtype=np.bool_),
            np.stack(counts_CS),
            by_weekday(counts_CG[0, inside_G], day_G[inside_G]).sum(axis=1, keepdims=True, dtype=np.int32),
            tracks_S,
            artists_S,
            np.array([day - first_listen]),
            np.array([day - last_listen]),
        )
        return np.asarray(found[0])


def _on_day(latest: Latest, user_G: Ints, day_G: Ints) -> Ints:
    """Return the number of a user's items whose latest listen is on the day, [G]."""
    span = int(max(day_G.max(initial=0), latest.day_P.max(initial=0))) + 1
    key_G, key_P = user_G * span + day_G, latest.users * span + latest.day_P
    place_P = np.searchsorted(key_G, key_P)
    known_P = np.append(key_G, -1)[place_P] == key_P
    return np.bincount(place_P[known_P], minlength=len(key_G))
