"""The habits of slow snapshots, folded over blocks of days: what was, and a block's events, give the block's snapshots.

So a new day needs the past's few arrays and not its events, and a rebuild block by block gives the very same numbers:
all of them are made of whole counts. Within a block everything is dense over (user, day) and vectorised.

Shape suffixes: U users, G (user, day) pairs, S snapshots, R days of the block and of the window before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.features.slow import DAY_US, HABITS, WINDOW_DAYS, Events
from fsvae.schema import KINDS

Ints = NDArray[np.int64]

_COUNTED = ("listen", "skip", "like", "save")
_HOURS = 24
_N_COUNTS = len(_COUNTED) + 1 + _HOURS  # of each kind, repeats, listens in each hour
_NEVER = np.iinfo(np.int64).max
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True)
class Latest:
    """The latest day on which each user listened to each item (track or artist): equally long, sorted by the pair."""

    user: Ints
    item: Ints
    day: Ints


@dataclass(frozen=True)
class Past:
    """What the snapshots of later days need to know of the days so far."""

    first_event_U: Ints
    """Day of each user's first event; a large number where there is none."""
    first_listen_U: Ints
    """Likewise of the first listen."""
    last_listen_U: Ints
    """Day of the latest listen; -1 where there is none."""
    user_G: Ints
    """(user, day) pairs with events in the last 28 days, sorted."""
    day_G: Ints
    counts_GC: NDArray[np.int32]
    """What was counted on each of those days."""
    tracks: Latest
    artists: Latest

    @classmethod
    def nothing(cls) -> Past:
        """Return the past of no users."""
        none = np.zeros(0, dtype=np.int64)
        latest = Latest(none, none, none)
        return cls(none, none, none, none, none, np.zeros((0, _N_COUNTS), dtype=np.int32), latest, latest)

    def with_users(self, users: int) -> Past:
        """Return the same past of more users, of whom nothing is known."""
        more = users - len(self.first_event_U)
        return Past(
            np.append(self.first_event_U, np.full(more, _NEVER)),
            np.append(self.first_listen_U, np.full(more, _NEVER)),
            np.append(self.last_listen_U, np.full(more, -1)),
            self.user_G,
            self.day_G,
            self.counts_GC,
            self.tracks,
            self.artists,
        )


class _Grid:
    """Days `first` - 29 .. `end` of some users as one flat axis; what is older lies on the first of them."""

    LEAD = WINDOW_DAYS + 1

    def __init__(self, users: int, first: int, end: int) -> None:
        self.base = first - self.LEAD
        self.users = users
        self.days = end - self.base + 1

    def __call__(self, user: Ints, day: Ints) -> Ints:
        return user * self.days + np.maximum(day - self.base, 0)

    def count(self, cells: Ints) -> Ints:
        """Return how often each cell occurs, [U, R]."""
        counts = np.bincount(cells, minlength=self.users * self.days)
        return counts.astype(np.int64, copy=False).reshape(self.users, self.days)


def fold(
    past: Past, events: Events, users: int, first: int, end: int, user_S: Ints, day_S: Ints
) -> tuple[NDArray[np.float32], Past]:
    """Return HABITS of the snapshots (user, day), and the past of the days from `end` on.

    Args:
        past: of the days before `first`.
        events: all events of the days `first` .. `end` - 1, each user's in order of time.
        users: how many users there are by `end`; the past may know fewer.
        first: first day of the block [days since 1970 UTC].
        end: the day after its last one.
        user_S: users of the snapshots.
        day_S: their days, `first` .. `end`.

    Returns:
        [S, len(HABITS)] float32, and the new past.
    """
    grid = _Grid(users, first, end)
    past = past.with_users(users)
    day = events.played_at // DAY_US
    cell = grid(events.user, day)
    is_listen = events.kind == KINDS.index("listen")
    listen_cell, listen_user = cell[is_listen], events.user[is_listen]
    listen_day, listen_at = day[is_listen], events.played_at[is_listen]
    rel_S = day_S - grid.base
    past_cell = grid(past.user_G, past.day_G)

    first_UR, tracks_UR, tracks = _items(grid, past.tracks, listen_user, events.track[is_listen], listen_day)
    known = events.artist[is_listen] >= 0
    _, artists_UR, artists = _items(
        grid, past.artists, listen_user[known], events.artist[is_listen][known], listen_day[known]
    )

    kept = _kept(grid, past_cell, cell, end)
    kept_counts = np.zeros((len(kept), _N_COUNTS), dtype=np.int32)
    in_window = np.zeros((len(user_S), _N_COUNTS), dtype=np.int64)
    weekdays = np.zeros((len(user_S), 7), dtype=np.int64)
    recency_S = np.zeros(len(user_S), dtype=np.int64)
    hour = (listen_at % DAY_US // (DAY_US // _HOURS)).astype(np.int8)
    by_hour = np.argsort(hour, kind="stable")
    bounds = np.searchsorted(hour[by_hour], np.arange(_HOURS + 1))
    for column in range(_N_COUNTS):
        if column < len(_COUNTED):
            counts = grid.count(cell[events.kind == KINDS.index(_COUNTED[column])])
        elif column == len(_COUNTED):
            counts = grid.count(listen_cell) - first_UR  # the first listen to a track is no repeat
        else:
            begin, stop = bounds[column - len(_COUNTED) - 1 :][:2]
            counts = grid.count(listen_cell[by_hour[begin:stop]])
        counts.reshape(-1)[past_cell] += past.counts_GC[:, column]
        in_window[:, column] = _window(counts, user_S, rel_S)
        kept_counts[:, column] = counts.reshape(-1)[kept]
        if column == 0:
            weekday_R = (grid.base + np.arange(grid.days) + _EPOCH_WEEKDAY) % 7
            for weekday in range(7):
                weekdays[:, weekday] = _window(counts * (weekday_R == weekday), user_S, rel_S)
            active = np.where(counts > 0, np.arange(grid.days), -1)
            latest = np.maximum.accumulate(active, axis=1)[user_S, rel_S - 1]
            recency_S = np.where(latest > 0, grid.base + latest, past.last_listen_U[user_S])

    first_event = _first(past.first_event_U, events.user, day)
    first_listen = _first(past.first_listen_U, listen_user, listen_day)
    last_listen = past.last_listen_U.copy()
    last_listen[listen_user] = listen_day  # each user's in order of time: the latest is written last

    n_listens = in_window[:, 0]
    repeats = in_window[:, len(_COUNTED)]
    per_listen = np.maximum(n_listens, 1)[:, None]
    heard = first_listen[user_S] < day_S
    numbers = [in_window[:, column] for column in range(len(_COUNTED))] + [repeats]
    numbers += [tracks_UR[user_S, rel_S], artists_UR[user_S, rel_S]]
    habits = np.concatenate(
        [
            (first_event[user_S] < day_S)[:, None],
            np.log1p(np.stack(numbers, axis=1)),
            repeats[:, None] / per_listen,
            np.log1p(np.where(heard, day_S - np.where(heard, first_listen[user_S], 0), 0))[:, None],
            np.log1p(np.where(heard, day_S - recency_S, 0))[:, None],
            in_window[:, len(_COUNTED) + 1 :] / per_listen,
            weekdays / per_listen,
        ],
        axis=1,
    ).astype(np.float32)
    new_past = Past(
        first_event,
        first_listen,
        last_listen,
        kept // grid.days,
        kept % grid.days + grid.base,
        kept_counts,
        tracks,
        artists,
    )
    assert habits.shape[1] == len(HABITS)
    return habits, new_past


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
    keys = np.unique(user * span + day)
    return keys // span, keys % span


def _items(grid: _Grid, latest: Latest, user: Ints, item: Ints, day: Ints) -> tuple[Ints, Ints, Latest]:
    """Follow which items users listened to.

    Returns:
        How many items each user listened to for the first time ever on each day, [U, R]; how many different ones in
        the window before each day, [U, R]: the listens in it that were, before that day, the latest of their item;
        and the latest day of each item.
    """
    n_items = int(max(latest.item.max(initial=0), item.max(initial=0))) + 1
    pair = np.concatenate([latest.user * n_items + latest.item, user * n_items + item])
    rel = np.maximum(np.concatenate([latest.day, day]) - grid.base, 0)
    keys = np.sort(pair * grid.days + rel)
    keys = keys[np.diff(keys, prepend=-1) > 0]
    pair, rel = keys // grid.days, keys % grid.days
    owner = pair // n_items
    begins = np.diff(pair, prepend=-1) != 0
    ends = np.append(begins[1:], True) if len(pair) else begins
    first = begins & (rel >= grid.LEAD)
    first_UR = grid.count(owner[first] * grid.days + rel[first])

    following = np.append(rel[1:], 0) if len(rel) else rel
    until = np.where(ends, rel + WINDOW_DAYS, np.minimum(rel + WINDOW_DAYS, following))
    inside = rel > 0
    row = owner[inside] * grid.days
    begin = np.minimum(rel[inside] + 1, grid.days - 1)
    stop = until[inside] + 1
    steps_UR = grid.count(row + begin) - grid.count((row + stop)[stop < grid.days])
    # A listen on the last day of the grid would begin after it: no snapshot lies there.
    late = rel[inside] + 1 >= grid.days
    steps_UR -= grid.count((row + begin)[late])
    return first_UR, np.cumsum(steps_UR, axis=1), Latest(owner[ends], pair[ends] % n_items, rel[ends] + grid.base)


def _window(counts_UR: Ints, user_S: Ints, rel_S: Ints) -> Ints:
    """Return the sums over the 28 days before each snapshot, [S]."""
    until_UR = np.cumsum(counts_UR, axis=1)
    return np.asarray(until_UR[user_S, rel_S - 1] - until_UR[user_S, rel_S - 1 - WINDOW_DAYS])


def _kept(grid: _Grid, past_cell: Ints, cell: Ints, end: int) -> Ints:
    """Return the cells with events in the last 28 days before `end`, sorted."""
    seen = np.zeros((grid.users, grid.days), dtype=np.bool_)
    seen.reshape(-1)[past_cell] = True
    seen.reshape(-1)[cell] = True
    seen[:, : max(end - WINDOW_DAYS - grid.base, 0)] = False
    return np.flatnonzero(seen)


def _first(known_U: Ints, user: Ints, day: Ints) -> Ints:
    """Return the first day of each user: the one that is known, or that of these events, in order of time."""
    first = np.full(len(known_U), _NEVER)
    first[user[::-1]] = day[::-1]  # the earliest is written last
    return np.asarray(np.minimum(known_U, first))
