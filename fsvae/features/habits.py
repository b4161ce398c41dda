"""The habits of slow snapshots, folded over blocks of days: the past and a block's events give its snapshots.

A new day needs the few arrays of the past and not its events, and a rebuild block by block gives identical numbers, as
all are computed from whole counts. Everything is vectorised over the users.

Shape suffixes: U users, G (user, day) pairs with events, C counts, S snapshots, H habits, W days of the block and the
one after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US, EPOCH_WEEKDAY, HOUR_US
from fsvae.features.distinct import Distinct, Latest, count_distinct
from fsvae.features.slow import HABITS, WINDOW_DAYS, Events
from fsvae.schema import KINDS

Ints = NDArray[np.int64]

OTHER_KINDS = ("skip", "like", "save")
"""Kinds of events that are counted beside listens."""
_COUNTED = ("listen", *OTHER_KINDS)
_REPEATS = len(_COUNTED)
_HOURS = slice(_REPEATS + 1, _REPEATS + 25)
DAY_COUNTS = (*_COUNTED, "repeat", *(f"hour_{hour:02d}" for hour in range(24)))
"""Names of the counts of a day: events of four kinds, listens that are repeats, listens in each hour."""
_N_COUNTS = len(DAY_COUNTS)
_COLUMN_OF_KIND = np.array([_COUNTED.index(kind) if kind in _COUNTED else _N_COUNTS for kind in KINDS])
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Past:
    """The state of the days so far that the snapshots of later days are computed from.

    It suffices for a snapshot as of any day after a user's latest listen (`fsvae.features.recent_days`).
    """

    first_event_U: Ints
    """[U] day of each user's first event; a large number where there is none."""
    first_listen_U: Ints
    """[U] day of each user's first listen; a large number where there is none."""
    last_listen_U: Ints
    """[U] day of each user's latest listen; -1 where there is none."""
    user_G: Ints
    """[G] users of the (user, day) pairs, sorted, with events from 27 days before the user's latest listen on, or in
    the last 28 days for a user without a listen; `day_G` holds their days."""
    day_G: Ints
    counts_CG: NDArray[np.int32]
    """[C, G] counts of each of those days (DAY_COUNTS)."""
    tracks: Latest
    artists: Latest

    @classmethod
    def nothing(cls) -> Past:
        """Return the past of no users."""
        none = np.zeros(0, dtype=np.int64)
        counts = np.zeros((_N_COUNTS, 0), dtype=np.int32)
        return cls(none, none, none, none, none, counts, Latest.nothing(), Latest.nothing())

    def with_users(self, users: int) -> Past:
        """Return the same past with more users, who have no events."""
        more = users - len(self.first_event_U)
        return replace(
            self,
            first_event_U=np.append(self.first_event_U, np.full(more, _NEVER)),
            first_listen_U=np.append(self.first_listen_U, np.full(more, _NEVER)),
            last_listen_U=np.append(self.last_listen_U, np.full(more, -1)),
        )


def fold(
    past: Past, events: Events, users: int, first: int, end: int, user_S: Ints, day_S: Ints
) -> tuple[NDArray[np.float32], Past]:
    """Return HABITS of the snapshots (user, day), and the past of the days from `end` on.

    Args:
        past: past of the days before `first`.
        events: all events of the days `first` .. `end` - 1, each user's in order of time.
        users: number of users by `end`; the past may know fewer.
        first: first day of the block [days since 1970 UTC].
        end: the day after its last one.
        user_S: users of the snapshots.
        day_S: their days, `first` .. `end`.

    Returns:
        [S, len(HABITS)] float32, and the new past.
    """
    past = past.with_users(users)
    day = events.played_at // DAY_US
    is_listen = events.kind == KINDS.index("listen")
    listen_user, listen_track, listen_day = events.user[is_listen], events.track[is_listen], day[is_listen]
    tracks = count_distinct(past.tracks, listen_user, listen_track, listen_day, users, first, end)
    known = is_listen & (events.artist >= 0)
    artists = count_distinct(past.artists, events.user[known], events.artist[known], day[known], users, first, end)

    active = _ActiveDays(past, events.user, day, users, first, end)
    counts_CG = active.counts(past, events, is_listen, tracks)
    in_window_CS = active.in_window(counts_CG, user_S, day_S)
    weekdays_CS = active.in_window(by_weekday(counts_CG[0], active.day_G), user_S, day_S)

    first_event_U = _first(past.first_event_U, events.user, day)
    first_listen_U = _first(past.first_listen_U, listen_user, listen_day)
    heard_S = first_listen_U[user_S] < day_S
    first_listen_S = np.where(heard_S, first_listen_U[user_S], 0)
    last_listen_S = active.last_listen(counts_CG[0], past.last_listen_U, user_S, day_S)
    habits_SH = habits_of(
        first_event_U[user_S] < day_S,
        in_window_CS,
        weekdays_CS,
        tracks.items_UW[user_S, day_S - first],
        artists.items_UW[user_S, day_S - first],
        np.where(heard_S, day_S - first_listen_S, 0),
        np.where(heard_S, day_S - last_listen_S, 0),
    )
    last_listen_U = past.last_listen_U.copy()
    last_listen_U[listen_user] = listen_day  # each user's in order of time: the latest is written last
    kept = _kept_days(past, active, counts_CG, last_listen_U, end)
    return habits_SH, Past(first_event_U, first_listen_U, last_listen_U, *kept, tracks.latest, artists.latest)


def _kept_days(
    past: Past, active: _ActiveDays, counts_CG: NDArray[np.int32], last_listen_U: Ints, end: int
) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """Return `Past.user_G`, `Past.day_G` and `Past.counts_CG` after a block."""
    older = ~active.of_past
    user_G = np.append(past.user_G[older], active.user_G)
    day_G = np.append(past.day_G[older], active.day_G)
    since_U = np.where(last_listen_U >= 0, last_listen_U + 1, end) - WINDOW_DAYS
    kept = np.flatnonzero(day_G >= since_U[user_G])
    kept = kept[np.lexsort((day_G[kept], user_G[kept]))]
    counts_CG = np.concatenate([past.counts_CG[:, older], counts_CG], axis=1)
    return user_G[kept], day_G[kept], counts_CG[:, kept]


def habits_of(
    known_S: NDArray[np.bool_],
    counts_CS: NDArray[np.int32],
    weekdays_CS: NDArray[np.int32],
    tracks_S: Ints,
    artists_S: Ints,
    tenure_S: Ints,
    recency_S: Ints,
) -> NDArray[np.float32]:
    """Return HABITS of snapshots from the counts of their windows: [S, len(HABITS)] float32.

    Args:
        known_S: whether the user has any event before the snapshot.
        counts_CS: DAY_COUNTS of the window.
        weekdays_CS: listens on each weekday of the window, Monday first.
        tracks_S: different tracks in the window.
        artists_S: different artists in the window.
        tenure_S: days since the first listen, 0 without one.
        recency_S: days since the latest listen, 0 without one.
    """
    n_listens_S = np.maximum(counts_CS[0], 1)
    habits_HS = [
        [known_S],
        np.log1p(np.stack([*counts_CS[: _REPEATS + 1], tracks_S, artists_S])),
        [counts_CS[_REPEATS] / n_listens_S],
        np.log1p([tenure_S, recency_S]),
        counts_CS[_HOURS] / n_listens_S,
        weekdays_CS / n_listens_S,
    ]
    habits_SH = np.ascontiguousarray(np.concatenate(habits_HS).T, dtype=np.float32)
    assert habits_SH.shape[1] == len(HABITS)
    return habits_SH


def by_weekday(listens_G: NDArray[np.int32], day_G: Ints) -> NDArray[np.int32]:
    """Return the listens of days, each in the row of its weekday, Monday first: [7, G]."""
    return np.where((day_G + EPOCH_WEEKDAY) % 7 == np.arange(7)[:, None], listens_G, 0)


def habits(events: Events, user_S: Ints, day_S: Ints) -> NDArray[np.float32]:
    """Return HABITS of snapshots (user, day) from all events of their users: [S, len(HABITS)] float32."""
    days = np.concatenate([events.played_at // DAY_US, day_S])
    if len(day_S) == 0:
        return np.zeros((0, len(HABITS)), dtype=np.float32)
    users = int(max(events.user.max(initial=0), user_S.max())) + 1
    return fold(Past.nothing(), events, users, int(days.min()), int(days.max()) + 1, user_S, day_S)[0]


def snapshot_days(user: Ints, played_at: Ints) -> tuple[Ints, Ints]:
    """Return the (user, day) pairs, sorted, on which a user has at least one listen."""
    day = played_at // DAY_US
    span = int(day.max(initial=0)) + 1
    keys = user * span + day
    keys = np.unique(keys[np.diff(keys, prepend=-1) != 0])  # equal keys are mostly adjacent: drop them first
    return keys // span, keys % span


class _ActiveDays:
    """The (user, day) pairs with events in a block or in the 28 days before it, sorted, one a row."""

    def __init__(self, past: Past, user: Ints, day: Ints, users: int, first: int, end: int) -> None:
        self._first = first
        self._base = first - WINDOW_DAYS
        self._days = end - self._base + 1
        self.of_past = past.day_G >= self._base
        seen = np.zeros(users * self._days, dtype=np.bool_)
        seen[self._cell(past.user_G[self.of_past], past.day_G[self.of_past])] = True
        seen[self._cell(user, day)] = True
        self._row: Ints = np.cumsum(seen) - seen
        cells = np.flatnonzero(seen)
        self.user_G, self.day_G = cells // self._days, cells % self._days + self._base

    def _cell(self, user: Ints, day: Ints) -> Ints:
        return user * self._days + (day - self._base)

    def row(self, user: Ints, day: Ints) -> Ints:
        """Return the number of rows before each pair: its own row, where it has events."""
        return self._row[self._cell(user, day)]

    def counts(self, past: Past, events: Events, is_listen: NDArray[np.bool_], tracks: Distinct) -> NDArray[np.int32]:
        """Return the counts of each day, [C, G]."""
        rows = len(self.day_G)
        hour = events.played_at // HOUR_US
        row, hour = self.row(events.user, hour // 24), hour % 24
        column = np.where(is_listen, _HOURS.start + hour, _COLUMN_OF_KIND[events.kind])
        counts = np.bincount(column * rows + row, minlength=(_N_COUNTS + 1) * rows).astype(np.int32)
        counts_CG = counts.reshape(_N_COUNTS + 1, rows)[:_N_COUNTS]
        counts_CG[0] = counts_CG[_HOURS].sum(axis=0)
        # The first listen to a track is no repeat.
        firsts = np.bincount(self.row(tracks.first_user, tracks.first_day), minlength=rows)
        counts_CG[_REPEATS] = counts_CG[0] - firsts
        of_past = self.row(past.user_G[self.of_past], past.day_G[self.of_past])
        counts_CG[:, of_past] = past.counts_CG[:, self.of_past]
        return counts_CG

    def in_window(self, counts_CG: NDArray[np.int32], user_S: Ints, day_S: Ints) -> NDArray[np.int32]:
        """Return the sums over the 28 days before each snapshot, [C, S]."""
        until = np.zeros((len(counts_CG), len(self.day_G) + 1), dtype=np.int32)
        np.cumsum(counts_CG, axis=1, out=until[:, 1:])
        return until[:, self.row(user_S, day_S)] - until[:, self.row(user_S, day_S - WINDOW_DAYS)]

    def last_listen(self, listens_G: NDArray[np.int32], before_U: Ints, user_S: Ints, day_S: Ints) -> Ints:
        """Return the day of the latest listen before each snapshot: `before_U`, if none of these days has one."""
        rows = np.where(listens_G > 0, np.arange(len(listens_G)), -1)
        latest = np.append(-1, np.maximum.accumulate(rows))[self.row(user_S, day_S)]
        own = latest >= self.row(user_S, np.full(len(user_S), self._base))
        return np.where(own, np.append(self.day_G, 0)[latest], before_U[user_S])


def _first(known_U: Ints, user: Ints, day: Ints) -> Ints:
    """Return the first day of each user: the known one, or that of these events, which are in order of time."""
    first = np.full(len(known_U), _NEVER)
    first[user[::-1]] = day[::-1]  # the earliest is written last
    return np.asarray(np.minimum(known_U, first))
