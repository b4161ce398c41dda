"""Habits as of any day after a user's latest listen: with no listen in between, days only leave the window.

So a request is answered with the snapshot that an evaluation of a listen at that time would read, whether its day is
within the dataset or long after it. Counts of a few days of each user suffice; tracks and artists need only the number
of them whose latest listen was on each day.

Shape suffixes: U users, S snapshots, P (user, item) pairs, G (user, day) pairs, C counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsvae.data.listens import in_runs
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

    def rows(self, user: Ints) -> tuple[Ints, Ints]:
        """Return the first row of each user's days, and their number."""
        begin = np.searchsorted(self.user_G, user)
        return begin, np.searchsorted(self.user_G, user + 1) - begin

    def habits(self, user_S: Ints, first_listen_S: Ints, day_S: Ints) -> NDArray[np.float32]:
        """Return HABITS of snapshots, [S, len(HABITS)] float32.

        Args:
            user_S: row of each one's user, who has a day with a listen.
            first_listen_S: day of the user's first listen [days since 1970 UTC].
            day_S: day of the snapshot, after the day of the user's latest listen [days since 1970 UTC].
        """
        begin_S, n_S = self.rows(user_S)
        rows, of_row = in_runs(begin_S, n_S), np.repeat(np.arange(len(user_S)), n_S)
        day, counts = self.day_G[rows], self.counts_GC[rows]
        last_listen_S = np.zeros(len(user_S), dtype=np.int64)
        heard = counts[:, 0] > 0
        last_listen_S[of_row[heard]] = day[heard]  # days ascend: the latest is written last
        assert (last_listen_S < day_S).all(), "what the window held on an earlier day is not known"
        inside = (day >= day_S[of_row] - WINDOW_DAYS) & (day < day_S[of_row])
        of_row, day, counts = of_row[inside], day[inside], counts[inside]
        counts_SC = np.zeros((len(user_S), counts.shape[1]), dtype=np.int32)
        weekdays_S7 = np.zeros((len(user_S), 7), dtype=np.int32)
        np.add.at(counts_SC, of_row, counts)
        np.add.at(weekdays_S7, of_row, by_weekday(counts[:, 0], day).T)
        *counts_CS, tracks_S, artists_S = counts_SC.T
        return habits_of(
            np.ones(len(user_S), dtype=np.bool_),
            np.stack(counts_CS),
            weekdays_S7.T,
            tracks_S.astype(np.int64),
            artists_S.astype(np.int64),
            day_S - first_listen_S,
            day_S - last_listen_S,
        )


def _on_day(latest: Latest, user_G: Ints, day_G: Ints) -> Ints:
    """Return the number of a user's items whose latest listen is on the day, [G]."""
    span = int(max(day_G.max(initial=0), latest.day_P.max(initial=0))) + 1
    key_G, key_P = user_G * span + day_G, latest.users * span + latest.day_P
    place_P = np.searchsorted(key_G, key_P)
    known_P = np.append(key_G, -1)[place_P] == key_P
    return np.bincount(place_P[known_P], minlength=len(key_G))
