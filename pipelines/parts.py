"""The per-user side of prepare: one part of the users, a range of buckets, from lake events to sequences and habits.

Habits are folded over weeks. The habits of a week that a new day does not touch, and the past behind it, lie in a
cache, so they are not computed again; the same function makes them in a full rebuild, so the files are the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.habits import Latest, Past, fold, snapshot_days
from fsvae.features.slow import HABITS, Events
from fsvae.schema import KINDS, SEQUENCES, SLOW
from fsvae.storage import Folder, read_frame
from pipelines.files import fingerprint, write_parquet

_FEATURES_VERSION = 1
"""To be raised when the habits change: what lies in the cache is not theirs any more."""
_BLOCK_DAYS = 7
_KEPT_PASTS = 3
"""The pasts behind the last so many weeks are kept: enough to go on from, as late events are seldom later."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Day:
    """A day of the lake."""

    number: int
    """Days since 1970 UTC."""
    path: str
    checksum: str

    @classmethod
    def of(cls, name: str, entry: dict[str, Any]) -> Day:
        """Return the day of a name (YYYY-MM-DD) and its entry in the lake's manifest."""
        return cls((date.fromisoformat(name) - date(1970, 1, 1)).days, entry["path"], entry["checksum"])


@dataclass(frozen=True)
class PartTask:
    """One part of the users of a dataset."""

    lake: Folder
    days: Sequence[Day]
    buckets: tuple[int, int]
    """First bucket, and the one after the last."""
    cache: Folder
    vocabulary: str
    """The file of the cache with the dataset's tracks: track_id, track_index."""
    out: Folder
    name: str
    """Of the part's files in sequences/ and slow/."""
    n_catalogue: int
    train_until: int
    validation_until: int
    as_of_day: int


@dataclass(frozen=True)
class PartResult:
    """What was counted on the way."""

    events: int
    users: int
    snapshots: int
    listens: list[int]
    """In training, validation and test."""
    listens_in_catalogue: list[int]
    cached: list[str]
    """The files of the cache that belong to it."""


class _Codes:
    """Numbers for strings, by first appearance."""

    def __init__(self, known: pa.StringArray | None = None) -> None:
        self.known = pa.array([], pa.string()) if known is None else known

    @classmethod
    def stored(cls, data: NDArray[np.uint8]) -> _Codes:
        """Return the codes that `to_bytes` was called of."""
        return cls(pa.ipc.open_stream(data.tobytes()).read_all()["known"].combine_chunks())

    def to_bytes(self) -> NDArray[np.uint8]:
        sink = pa.BufferOutputStream()
        table = pa.table({"known": self.known})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return np.frombuffer(sink.getvalue(), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.known)

    def __call__(self, column: pa.ChunkedArray) -> Ints:
        """Return the codes of a dictionary column with one dictionary, -1 for null; new strings get new ones."""
        if not len(column):
            return np.zeros(0, dtype=np.int64)
        words = column.chunk(0).dictionary
        codes = pc.index_in(words, value_set=self.known)
        new = words.filter(pc.is_null(codes))
        found = pc.fill_null(codes, -1).to_numpy().astype(np.int64)
        found[found < 0] = len(self.known) + np.arange(len(new))
        self.known = pa.concat_arrays([self.known, new])
        indices = np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy() for chunk in column.chunks])
        return np.asarray(np.append(found, -1)[indices])


@dataclass
class _State:
    """All that is known of a part behind a week."""

    past: Past = field(default_factory=Past.nothing)
    users: _Codes = field(default_factory=_Codes)
    tracks: _Codes = field(default_factory=_Codes)
    artists: _Codes = field(default_factory=_Codes)


@dataclass(frozen=True)
class _Block:
    """A week and what names the habits in it."""

    days: list[Day]
    first: int
    end: int
    key: str


def make_part(task: PartTask) -> PartResult:
    """Write a part's sequences and habits."""
    blocks = _blocks(task)
    state, done = _resume(task, blocks)
    slow: list[tuple[Ints, Ints, NDArray[np.float32]]] = []
    listens: list[_Listens] = []
    buckets: list[tuple[Ints, Ints]] = []
    events = 0
    for index, block in enumerate(blocks):
        rows = _read(task, block, state)
        events += len(rows.events)
        listens.append(_Listens.of(rows))
        buckets.append((rows.events.user, rows.bucket))
        name = f"habits-{block.key}.npz"
        if index < done:
            with np.load(io.BytesIO(task.cache.read(name)), allow_pickle=False) as stored:
                slow.append((stored["user"], stored["day"], stored["habits"]))
            continue
        is_listen = rows.events.kind == KINDS.index("listen")
        user, day = snapshot_days(rows.events.user[is_listen], rows.events.played_at[is_listen])
        found, state.past = fold(state.past, rows.events, len(state.users), block.first, block.end, user, day)
        slow.append((user, day, found))
        _save(task.cache, name, user=user, day=day, habits=found)
        if index >= len(blocks) - _KEPT_PASTS:
            _save_state(task.cache, block.key, state)

    users = len(state.users)
    past = state.past.with_users(users)
    listeners = np.flatnonzero(past.last_listen_U >= 0)
    as_of = np.full(len(listeners), task.as_of_day)
    none = np.zeros(0, dtype=np.int64)
    nothing = Events(none, none, none, none.astype(np.int8), none)
    slow.append((listeners, as_of, fold(past, nothing, users, task.as_of_day, task.as_of_day, listeners, as_of)[0]))

    bucket_U = np.zeros(users, dtype=np.int64)
    for user, bucket in buckets:
        bucket_U[user] = bucket
    names = state.users.known.to_pylist()
    ordered = sorted(listeners.tolist(), key=lambda code: (bucket_U[code], names[code]))
    row_of = np.full(users, -1, dtype=np.int64)
    row_of[ordered] = np.arange(len(ordered))
    index_of = _track_indices(task, state.tracks.known)
    counted = _write_sequences(task, listens, row_of, [names[code] for code in ordered], index_of)
    _write_slow(task, slow, row_of)
    kept = [f"habits-{block.key}.npz" for block in blocks]
    kept += [f"past-{block.key}.npz" for block in blocks[-_KEPT_PASTS:]]
    return PartResult(
        events=events,
        users=len(ordered),
        snapshots=sum(len(user) for user, _, _ in slow),
        listens=counted[0],
        listens_in_catalogue=counted[1],
        cached=kept,
    )


def _blocks(task: PartTask) -> list[_Block]:
    weeks: dict[int, list[Day]] = {}
    for day in task.days:
        weeks.setdefault(day.number // _BLOCK_DAYS, []).append(day)
    blocks: list[_Block] = []
    key = fingerprint([_FEATURES_VERSION, list(HABITS), _BLOCK_DAYS, task.buckets])
    for week, days in sorted(weeks.items()):
        first, end = week * _BLOCK_DAYS, min((week + 1) * _BLOCK_DAYS, task.as_of_day)
        key = fingerprint([key, [(day.number, day.checksum) for day in days], end])
        blocks.append(_Block(days, first, end, key))
    return blocks


def _resume(task: PartTask, blocks: list[_Block]) -> tuple[_State, int]:
    """Return the latest state that the cache has, and how many weeks lie before it."""
    for done in range(len(blocks), max(len(blocks) - _KEPT_PASTS, 0), -1):
        key = blocks[done - 1].key
        if task.cache.exists(f"past-{key}.npz") and all(
            task.cache.exists(f"habits-{block.key}.npz") for block in blocks[:done]
        ):
            return _load_state(task.cache, key), done
    return _State(), 0


@dataclass(frozen=True)
class _Rows:
    """The events of a part in a week, each user's in order of time, with what else is needed of them."""

    events: Events
    played_fraction: NDArray[np.float32]
    bucket: Ints


def _read(task: PartTask, block: _Block, state: _State) -> _Rows:
    texts = ["user_id", "track_id", "artist_id", "kind"]
    columns = [*texts, "played_at", "ms_played", "duration_ms", "bucket"]
    tables = []
    for day in block.days:
        tables.append(read_buckets(task.lake.open(day.path), task.buckets, columns, texts))
    table = pa.concat_tables(tables).unify_dictionaries()
    return _Rows(
        Events(
            user=state.users(table["user_id"]),
            track=state.tracks(table["track_id"]),
            artist=state.artists(table["artist_id"]),
            kind=_Codes(pa.array(KINDS))(table["kind"]).astype(np.int8),
            played_at=table["played_at"].cast(pa.int64()).to_numpy(),
        ),
        _played_fraction(table["ms_played"], table["duration_ms"]),
        table["bucket"].to_numpy().astype(np.int64),
    )


def read_buckets(file: pa.NativeFile, buckets: tuple[int, int], columns: list[str], texts: list[str]) -> pa.Table:
    """Return some columns, `bucket` among them, of a day's events in a half-open range of buckets.

    Of the columns, `texts` come as dictionaries.
    """
    day = pq.ParquetFile(file, read_dictionary=texts)
    table = day.read_row_groups(_row_groups(day, buckets), columns, use_threads=False)
    begin, end = np.searchsorted(table["bucket"].to_numpy(), buckets).tolist()  # sorted by bucket
    return table.slice(begin, end - begin)


def _row_groups(file: pq.ParquetFile, buckets: tuple[int, int]) -> list[int]:
    column = file.schema_arrow.get_field_index("bucket")
    groups = []
    for index in range(file.num_row_groups):
        statistics = file.metadata.row_group(index).column(column).statistics
        if statistics is None or (statistics.max >= buckets[0] and statistics.min < buckets[1]):
            groups.append(index)
    return groups


def _played_fraction(ms_played: pa.ChunkedArray, duration_ms: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return the share of the track that was heard, 1 where the log does not tell."""
    played = pc.fill_null(ms_played, -1).to_numpy().astype(np.float64)
    duration = pc.fill_null(duration_ms, 0).to_numpy()
    known = (played >= 0) & (duration > 0)
    fraction = np.divide(played, duration, out=np.ones(len(played)), where=known)
    return np.asarray(np.clip(fraction, 0.0, 1.0), dtype=np.float32)


@dataclass(frozen=True)
class _Listens:
    """The listens of some rows, in few bytes."""

    user: NDArray[np.int32]
    track: NDArray[np.int32]
    played_at: Ints
    played_fraction: NDArray[np.float32]

    @classmethod
    def of(cls, rows: _Rows) -> _Listens:
        events = rows.events
        mask = events.kind == KINDS.index("listen")
        return cls(
            events.user[mask].astype(np.int32),
            events.track[mask].astype(np.int32),
            events.played_at[mask],
            rows.played_fraction[mask],
        )


def _track_indices(task: PartTask, tracks: pa.Array) -> NDArray[np.int32]:
    """Return the dataset's index of each of the part's tracks; -1 for one that nobody listened to."""
    known = read_frame(task.cache.open(task.vocabulary))
    local = pl.DataFrame(pl.from_arrow(pa.table({"track_id": tracks})))
    joined = local.join(known, on="track_id", how="left", maintain_order="left")
    return np.asarray(joined["track_index"].fill_null(-1).to_numpy(), dtype=np.int32)


def _write_sequences(
    task: PartTask, listens: list[_Listens], row_of: Ints, names: list[str], index_of: NDArray[np.int32]
) -> tuple[list[int], list[int]]:
    """Write SEQUENCES; return the listens of each period, and those to tracks of the catalogue."""
    row = np.concatenate([np.zeros(0, dtype=np.int64), *(row_of[some.user] for some in listens)])
    # Of 16 bits, numpy sorts several times faster; stable: within a user the order of days and of each day stays.
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


def _write_slow(task: PartTask, slow: list[tuple[Ints, Ints, NDArray[np.float32]]], row_of: Ints) -> None:
    row = np.concatenate([row_of[user] for user, _, _ in slow])
    day = np.concatenate([day for _, day, _ in slow])
    order = np.lexsort((day, row))
    habits = np.concatenate([found for _, _, found in slow])[order]
    offsets = pa.array(np.arange(len(order) + 1, dtype=np.int32) * len(HABITS))
    lists = pa.ListArray.from_arrays(offsets, pa.array(habits.reshape(-1)))
    table = pa.table([pa.array(row[order].astype(np.int32)), pa.array(day[order].astype(np.int32)), lists], schema=SLOW)
    with task.out.writing(f"slow/{task.name}") as file:
        write_parquet(file, [table], SLOW)


def _save(cache: Folder, name: str, **arrays: NDArray[Any]) -> None:
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, **arrays)
    cache.write(name, data.getvalue())


def _save_state(cache: Folder, key: str, state: _State) -> None:
    past = state.past
    _save(
        cache,
        f"past-{key}.npz",
        first_event=past.first_event_U,
        first_listen=past.first_listen_U,
        last_listen=past.last_listen_U,
        user=past.user_G,
        day=past.day_G,
        counts=past.counts_GC,
        tracks=np.stack([past.tracks.user, past.tracks.item, past.tracks.day]),
        artists=np.stack([past.artists.user, past.artists.item, past.artists.day]),
        users=state.users.to_bytes(),
        track_ids=state.tracks.to_bytes(),
        artist_ids=state.artists.to_bytes(),
    )


def _load_state(cache: Folder, key: str) -> _State:
    with np.load(io.BytesIO(cache.read(f"past-{key}.npz")), allow_pickle=False) as stored:
        past = Past(
            stored["first_event"],
            stored["first_listen"],
            stored["last_listen"],
            stored["user"],
            stored["day"],
            stored["counts"],
            Latest(*stored["tracks"]),
            Latest(*stored["artists"]),
        )
        codes = [_Codes.stored(stored[name]) for name in ("users", "track_ids", "artist_ids")]
    return _State(past, *codes)
