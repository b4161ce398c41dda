"""Slow features: what a user's last 28 days look like, as of 00:00 UTC of a day.

A snapshot of day D counts events of the days D - 28 .. D - 1 and nothing later, so it may be used for every
request of day D. Everything is vectorised over users: an event is an interval of snapshot days that it counts
for, and all counts are cumulative sums of interval ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.schema import KINDS

WINDOW_DAYS = 28
HALF_LIVES_DAYS = (1.0, 7.0, 28.0)

_COUNTS = ("listens", "skips", "likes", "saves", "repeats", "distinct_tracks", "distinct_artists")
HABITS = (
    "known",
    *(f"log_{name}" for name in _COUNTS),
    "repeat_share",
    "log_tenure_days",
    "log_recency_days",
    *(f"hour_{hour:02d}_share" for hour in range(24)),
    *(f"weekday_{day}_share" for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
)
"""Names of the habit features, in order.

* ``known``: 1 where the user has any event before D, else 0 (then every other feature is 0).
* ``log_*`` counts: log(1 + number in the window); a repeat is a listen to a track the user has listened to before,
  at any time; distinct tracks and artists are those of listens.
* ``repeat_share``: repeats / listens in the window.
* ``log_tenure_days``, ``log_recency_days``: log(1 + days) since the user's first and latest listen before D.
* ``hour_*_share``, ``weekday_*_share``: share of the window's listens in that UTC hour or weekday.
"""

_DAY_KEYS = 1 << 22  # more days than any log has; (user, day) becomes one sortable integer
_EPOCH_WEEKDAY = 3
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Events:
    """Events of some users in order of (user, played_at, position): equally long arrays, one element an event.

    `user`, `track` and `artist` are indices (artist -1: not known), `kind` indexes `schema.KINDS`,
    `played_at` is in microseconds since 1970 UTC.
    """

    user: NDArray[np.int64]
    track: NDArray[np.int64]
    artist: NDArray[np.int64]
    kind: NDArray[np.int8]
    played_at: NDArray[np.int64]

    def of_kind(self, kind: str) -> Events:
        """Return the events of one kind."""
        mask = self.kind == KINDS.index(kind)
        return Events(self.user[mask], self.track[mask], self.artist[mask], self.kind[mask], self.played_at[mask])


def snapshot_days(user: NDArray[np.int64], played_at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (user, day) pairs, sorted, on which a user has at least one listen."""
    keys = np.unique(_key(user, played_at // DAY_US))
    return keys // _DAY_KEYS, keys % _DAY_KEYS


def habits(events: Events, user: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return HABITS of the snapshots (user, day), which must be sorted: [S, len(HABITS)] float32."""
    keys = _key(user, day)
    listens = events.of_kind("listen")
    listen_day = listens.played_at // DAY_US
    next_track_day, repeated = _next_and_repeat(listens.user, listens.track, listen_day)
    with_artist = listens.artist >= 0
    next_artist_day, _ = _next_and_repeat(
        listens.user[with_artist], listens.artist[with_artist], listen_day[with_artist]
    )
    n_listens = _count(keys, listens.user, listen_day)
    n_repeats = _count(keys, listens.user[repeated], listen_day[repeated])
    counts = [n_listens]
    for kind in ("skip", "like", "save"):
        some = events.of_kind(kind)
        counts.append(_count(keys, some.user, some.played_at // DAY_US))
    counts.append(n_repeats)
    counts.append(_count(keys, listens.user, listen_day, until=next_track_day))
    counts.append(_count(keys, listens.user[with_artist], listen_day[with_artist], until=next_artist_day))

    hour = listens.played_at % DAY_US // (DAY_US // 24)
    weekday = (listen_day + _EPOCH_WEEKDAY) % 7
    per_listen = np.maximum(n_listens, 1)[:, None]
    hours = np.stack([_count(keys, listens.user[hour == h], listen_day[hour == h]) for h in range(24)], axis=1)
    weekdays = np.stack([_count(keys, listens.user[weekday == w], listen_day[weekday == w]) for w in range(7)], axis=1)

    known, _ = _latest_before(keys, user, events.user, events.played_at // DAY_US)
    tenure, recency = _tenure(keys, user, day, listens.user, listen_day)
    return np.concatenate(
        [
            known[:, None],
            np.log1p(np.stack(counts, axis=1)),
            n_repeats[:, None] / per_listen,
            np.log1p(tenure)[:, None],
            np.log1p(recency)[:, None],
            hours / per_listen,
            weekdays / per_listen,
        ],
        axis=1,
    ).astype(np.float32)


def taste(
    listens_user: NDArray[np.int64],
    listens_track: NDArray[np.int64],
    listens_at: NDArray[np.int64],
    vectors: NDArray[np.float32],
    user: NDArray[np.int64],
    day: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the decayed mean track vectors of the snapshots (user, day).

    For each half-life h the weight of a listen on day d is 2^(-(D - 1 - d) / h); listens outside the window or to
    tracks without a vector do not count; a snapshot without any is zero.

    Args:
        listens_user: [N] sorted.
        listens_track: [N] track index; one of at least len(vectors) has no vector.
        listens_at: [N] microseconds, ordered within a user.
        vectors: [V, D] track vectors.
        user: [S] snapshot user, sorted together with `day`.
        day: [S] snapshot day.

    Returns:
        [S, len(HALF_LIVES_DAYS) * D] float32.
    """
    dim = vectors.shape[1]
    out = np.zeros((len(user), len(HALF_LIVES_DAYS), dim), dtype=np.float32)
    has_vector = listens_track < len(vectors)
    keys = _key(listens_user[has_vector], listens_at[has_vector] // DAY_US)
    if len(keys) == 0:
        return out.reshape(len(user), -1)
    firsts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    group_keys = keys[firsts]
    sums = np.add.reduceat(vectors[listens_track[has_vector]], firsts, axis=0)
    sizes = np.diff(np.append(firsts, len(keys)))

    after = np.searchsorted(group_keys, _key(user, day), side="left")
    oldest = _key(user, np.maximum(day - WINDOW_DAYS, 0))
    weights = np.zeros((len(user), len(HALF_LIVES_DAYS)))
    half_lives = np.asarray(HALF_LIVES_DAYS)
    for back in range(1, WINDOW_DAYS + 1):  # a window holds at most 28 active days
        rows = np.flatnonzero(after - back >= 0)
        group = after[rows] - back
        inside = group_keys[group] >= oldest[rows]
        rows, group = rows[inside], group[inside]
        if len(rows) == 0:
            break
        age = day[rows] - 1 - group_keys[group] % _DAY_KEYS
        weight = 2.0 ** (-age[:, None] / half_lives)
        out[rows] += weight[:, :, None].astype(np.float32) * sums[group][:, None, :]
        weights[rows] += weight * sizes[group][:, None]
    out /= np.maximum(weights, 1e-12)[:, :, None].astype(np.float32)
    return out.reshape(len(user), -1)


def _key(user: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    return user * _DAY_KEYS + day


def _count(
    keys: NDArray[np.int64],
    user: NDArray[np.int64],
    day: NDArray[np.int64],
    until: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Count, for each snapshot, the events whose interval of snapshot days (day, min(day + 28, until)] holds it."""
    last = day + WINDOW_DAYS
    if until is not None:
        last = np.minimum(last, until)
    begins = np.searchsorted(keys, _key(user, day + 1), side="left")
    ends = np.searchsorted(keys, _key(user, last), side="right")
    steps = np.bincount(begins, minlength=len(keys) + 1) - np.bincount(ends, minlength=len(keys) + 1)
    return np.cumsum(steps)[:-1].astype(np.int64)


def _next_and_repeat(
    user: NDArray[np.int64], item: NDArray[np.int64], day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return, per listen, the day of the same user's next listen to the same item (or far away), and if it is a repeat.

    A distinct count as of D is the number of listens in the window that were, before D, the latest of their item.
    """
    order = np.lexsort((np.arange(len(user)), item, user))
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    following = np.full(len(user), _DAY_KEYS // 2, dtype=np.int64)
    following[order[:-1][same]] = day[order[1:][same]]
    repeated = np.zeros(len(user), dtype=np.bool_)
    repeated[order[1:][same]] = True
    return following, repeated


def _tenure(
    keys: NDArray[np.int64],
    user: NDArray[np.int64],
    day: NDArray[np.int64],
    listens_user: NDArray[np.int64],
    listens_day: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the days since the first and the latest listen before each snapshot, 0 where there is none."""
    if len(listens_user) == 0:
        return np.zeros_like(day), np.zeros_like(day)
    heard, latest = _latest_before(keys, user, listens_user, listens_day)
    first = np.minimum(np.searchsorted(listens_user, user, side="left"), len(listens_day) - 1)
    return np.where(heard, day - listens_day[first], 0), np.where(heard, day - listens_day[latest], 0)


def _latest_before(
    keys: NDArray[np.int64], user: NDArray[np.int64], events_user: NDArray[np.int64], events_day: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether the user of each snapshot has an event before it, and which is the latest (else any)."""
    if len(events_user) == 0:
        return np.zeros(len(keys), dtype=np.bool_), np.zeros(len(keys), dtype=np.int64)
    latest = np.searchsorted(_key(events_user, events_day), keys, side="left") - 1
    known = (latest >= 0) & (events_user[np.maximum(latest, 0)] == user)
    return known, np.maximum(latest, 0)
