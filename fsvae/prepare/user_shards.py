"""The per-user part of prepare: one shard of the users, from lake events to sequences and habits.

Habits are folded over weeks. The habits of a week that a new day does not touch, and the past after it, are read from a
cache (`fsvae.prepare.habits_cache`); the same function computes them in a full rebuild, so the files are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.habits import fold, snapshot_days
from fsvae.features.recent_days import RECENT_COUNTS, RecentDays
from fsvae.features.slow import HABITS, Events
from fsvae.files import write_parquet
from fsvae.prepare.buckets import N_BUCKETS
from fsvae.prepare.events import Day, Ints, ShardEvents, UserShard, read_events
from fsvae.prepare.habits_cache import HabitsCache, WeekHabits, weeks_of
from fsvae.schema import KINDS, RECENT_DAYS, SEQUENCES, SLOW
from fsvae.storage import Folder

TRACK_IDS = pa.schema([pa.field("track_id", pa.string(), nullable=False)])
"""Schema of the tracks of a dataset, in order of track index."""


@dataclass(frozen=True)
class ShardTask:
    """The task of making one shard of the users of a dataset."""

    lake: Folder
    days: Sequence[Day]
    users: UserShard
    cache: Folder
    track_ids: str
    """Name of the cache file with the dataset's tracks, TRACK_IDS."""
    out: Folder
    name: str
    """Name of the shard's files in sequences/, slow/ and recent_days/."""
    n_catalogue: int
    train_until: int
    validation_until: int
    as_of_day: int


@dataclass(frozen=True)
class ShardResult:
    """Counts of a shard that was made."""

    events: int
    users: int
    snapshots: int
    listens: list[int]
    """Number of listens in training, validation and test."""
    listens_in_catalogue: list[int]
    cached: list[str]
    """Names of the cache files that belong to the shard."""


def user_shards(n_events: int, events_per_shard: int) -> list[UserShard]:
    """Return the shards of all users in the order of their buckets; their number is a power of two.

    If there are more shards than buckets, they are slices of buckets.

    Args:
        n_events: number of events of all users.
        events_per_shard: approximate largest number of events of a shard; a user is never cut.
    """
    n_shards = 1
    while n_events > n_shards * events_per_shard:
        n_shards *= 2
    width, slices = max(N_BUCKETS // n_shards, 1), max(n_shards // N_BUCKETS, 1)
    return [
        UserShard((bucket, bucket + width), number, slices)
        for bucket in range(0, N_BUCKETS, width)
        for number in range(slices)
    ]


def make_shard(task: ShardTask) -> ShardResult:
    """Write a shard's sequences, habits and recent days."""
    weeks = weeks_of(task.days, task.users, task.as_of_day)
    cache = HabitsCache(task.cache, weeks)
    state, done = cache.resume()
    slow: list[WeekHabits] = []
    listens: list[_Listens] = []
    events = 0
    for index, week in enumerate(weeks):
        rows = read_events(task.lake, week.days, task.users, state.codes)
        events += len(rows.events)
        listens.append(_Listens.of(rows))
        if index < done:
            slow.append(cache.habits(week))
            continue
        is_listen = rows.events.kind == KINDS.index("listen")
        user, day = snapshot_days(rows.events.user[is_listen], rows.events.played_at[is_listen])
        users = len(state.codes.users)
        found, state.past = fold(state.past, rows.events, users, week.first, week.end, user, day)
        slow.append((user, day, found))
        cache.store(week, slow[-1], state)

    users = len(state.codes.users)
    past = state.past.with_users(users)
    listeners = np.flatnonzero(past.last_listen_U >= 0)
    as_of = np.full(len(listeners), task.as_of_day)
    none = np.zeros(0, dtype=np.int64)
    nothing = Events(none, none, none, none.astype(np.int8), none)
    slow.append((listeners, as_of, fold(past, nothing, users, task.as_of_day, task.as_of_day, listeners, as_of)[0]))

    bucket_U = np.zeros(users, dtype=np.int16)
    for some in listens:
        bucket_U[some.user] = some.bucket
    names = state.codes.users.known.to_pylist()
    ordered = sorted(listeners.tolist(), key=lambda code: (bucket_U[code], names[code]))
    row_of = np.full(users, -1, dtype=np.int64)
    row_of[ordered] = np.arange(len(ordered))
    index_of = _track_indices(task, state.codes.tracks.known)
    counted = _write_sequences(task, listens, row_of, [names[code] for code in ordered], index_of)
    _write_slow(task, slow, row_of)
    _write_recent_days(task, RecentDays.of(past), row_of)
    return ShardResult(
        events=events,
        users=len(ordered),
        snapshots=sum(len(user) for user, _, _ in slow),
        listens=counted[0],
        listens_in_catalogue=counted[1],
        cached=cache.files,
    )


@dataclass(frozen=True)
class _Listens:
    """The listens of some rows, in small types."""

    user: NDArray[np.int32]
    bucket: NDArray[np.int16]
    track: NDArray[np.int32]
    played_at: Ints
    played_fraction: NDArray[np.float32]

    @classmethod
    def of(cls, rows: ShardEvents) -> _Listens:
        events = rows.events
        mask = events.kind == KINDS.index("listen")
        return cls(
            events.user[mask].astype(np.int32),
            rows.bucket[mask],
            events.track[mask].astype(np.int32),
            events.played_at[mask],
            rows.played_fraction[mask],
        )


def _track_indices(task: ShardTask, tracks: pa.Array) -> NDArray[np.int32]:
    """Return the dataset's track index of each of the shard's tracks; -1 for one without a listen."""
    known = pq.read_table(task.cache.open(task.track_ids), schema=TRACK_IDS)["track_id"]
    return np.asarray(pc.fill_null(pc.index_in(tracks, value_set=known), -1).to_numpy(), dtype=np.int32)


def _write_sequences(
    task: ShardTask, listens: list[_Listens], row_of: Ints, names: list[str], index_of: NDArray[np.int32]
) -> tuple[list[int], list[int]]:
    """Write SEQUENCES; return the number of listens in each period, and of those to tracks of the catalogue."""
    row = np.concatenate([np.zeros(0, dtype=np.int64), *(row_of[some.user] for some in listens)])
    # numpy sorts 16 bits several times faster; stable, so that a user's listens keep their order.
    order = np.argsort(row.astype(np.uint16 if len(names) < 1 << 16 else np.int64), kind="stable")
    track = index_of[np.concatenate([np.zeros(0, dtype=np.int32), *(some.track for some in listens)])[order]]
    played_at = np.concatenate([np.zeros(0, dtype=np.int64), *(some.played_at for some in listens)])[order]
    fraction = np.concatenate([np.zeros(0, dtype=np.float32), *(some.played_fraction for some in listens)])[order]
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(names)))]).astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(values).cast(SEQUENCES.field(name).type.value_type))
        for name, values in (("track_index", track), ("played_at", played_at), ("played_fraction", fraction))
    ]
    table = pa.table([pa.array(names, pa.string()), *lists], schema=SEQUENCES)
    with task.out.writing(f"sequences/{task.name}") as file:
        write_parquet(file, [table], SEQUENCES)
    period = (played_at >= task.train_until).astype(np.int8) + (played_at >= task.validation_until)
    inside = track < task.n_catalogue
    return np.bincount(period, minlength=3).tolist(), np.bincount(period[inside], minlength=3).tolist()


def _write_slow(task: ShardTask, slow: list[WeekHabits], row_of: Ints) -> None:
    row = np.concatenate([row_of[user] for user, _, _ in slow])
    day = np.concatenate([day for _, day, _ in slow])
    order = np.lexsort((day, row))
    habits = np.concatenate([found for _, _, found in slow])[order]
    offsets = pa.array(np.arange(len(order) + 1, dtype=np.int32) * len(HABITS))
    lists = pa.ListArray.from_arrays(offsets, pa.array(habits.reshape(-1)))
    table = pa.table([pa.array(row[order].astype(np.int32)), pa.array(day[order].astype(np.int32)), lists], schema=SLOW)
    with task.out.writing(f"slow/{task.name}") as file:
        write_parquet(file, [table], SLOW)


def _write_recent_days(task: ShardTask, recent: RecentDays, row_of: Ints) -> None:
    row = row_of[recent.user_G]
    order = np.lexsort((recent.day_G, row))
    offsets = pa.array(np.arange(len(order) + 1, dtype=np.int32) * len(RECENT_COUNTS))
    lists = pa.ListArray.from_arrays(offsets, pa.array(recent.counts_GC[order].reshape(-1)))
    columns = [pa.array(row[order].astype(np.int32)), pa.array(recent.day_G[order].astype(np.int32)), lists]
    with task.out.writing(f"recent_days/{task.name}") as file:
        write_parquet(file, [pa.table(columns, schema=RECENT_DAYS)], RECENT_DAYS)
