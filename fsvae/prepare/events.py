"""Reading the lake's events of a shard of the users, some days at a time, with numbers for strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.slow import Events
from fsvae.prepare.buckets import slices_of
from fsvae.schema import KINDS
from fsvae.storage import Folder

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
        """Return the day with a name (YYYY-MM-DD) and an entry in the lake's manifest."""
        return cls((date.fromisoformat(name) - date(1970, 1, 1)).days, entry["path"], entry["checksum"])


@dataclass(frozen=True)
class UserShard:
    """A shard of the users: those of some buckets, or a slice of those of a single bucket."""

    buckets: tuple[int, int]
    """First bucket, and the one after the last."""
    slice: int = 0
    """Number of the slice, from 0 on."""
    slices: int = 1
    """Number of slices of the bucket."""


class Codes:
    """A map from strings to numbers, by first appearance."""

    def __init__(self, known: pa.StringArray | None = None) -> None:
        """Start with known strings, which have the numbers from 0 on."""
        self.known = pa.array([], pa.string()) if known is None else known

    def __len__(self) -> int:
        return len(self.known)

    def __call__(self, column: pa.ChunkedArray) -> Ints:
        """Return the codes of a dictionary column with one dictionary, -1 for null; new strings get new codes."""
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
class EventCodes:
    """The codes of a shard's strings."""

    users: Codes = field(default_factory=Codes)
    tracks: Codes = field(default_factory=Codes)
    artists: Codes = field(default_factory=Codes)


@dataclass(frozen=True)
class ShardEvents:
    """The events of a shard on some days, each user's in order of time, with their remaining columns."""

    events: Events
    played_fraction: NDArray[np.float32]
    bucket: NDArray[np.int16]


def read_events(lake: Folder, days: Sequence[Day], users: UserShard, codes: EventCodes) -> ShardEvents:
    """Return the events of a shard of the users on some days; strings without a code get one.

    Memory is that of these events and, where a bucket is cut into slices, of one day of the whole bucket.
    """
    texts = ["user_id", "track_id", "artist_id", "kind"]
    columns = [*texts, "played_at", "ms_played", "duration_ms", "bucket"]
    tables = [_in_slice(read_buckets(lake.open(day.path), users.buckets, columns, texts), users) for day in days]
    table = pa.concat_tables(tables).unify_dictionaries()
    return ShardEvents(
        Events(
            user=codes.users(table["user_id"]),
            track=codes.tracks(table["track_id"]),
            artist=codes.artists(table["artist_id"]),
            kind=Codes(pa.array(KINDS))(table["kind"]).astype(np.int8),
            played_at=table["played_at"].cast(pa.int64()).to_numpy(),
        ),
        _played_fraction(table["ms_played"], table["duration_ms"]),
        table["bucket"].to_numpy(),
    )


def read_buckets(file: pa.NativeFile, buckets: tuple[int, int], columns: list[str], texts: list[str]) -> pa.Table:
    """Return some columns (`bucket` among them) of a day's events in a half-open range of buckets.

    The columns `texts` are read as dictionaries.
    """
    day = pq.ParquetFile(file, read_dictionary=texts)
    table = day.read_row_groups(_row_groups(day, buckets), columns, use_threads=False)
    begin, end = np.searchsorted(table["bucket"].to_numpy(), buckets).tolist()  # sorted by bucket
    return table.slice(begin, end - begin)


def _in_slice(table: pa.Table, users: UserShard) -> pa.Table:
    """Return the rows of a bucket whose users are in the slice; no other user is in the dictionary of the column."""
    if users.slices == 1:
        return table
    place = table.schema.get_field_index("user_id")
    column = table.column(place).unify_dictionaries().combine_chunks()
    names, user = column.dictionary, column.indices.to_numpy()
    present = np.unique(user)  # the dictionary covers whole row groups
    inside = np.zeros(len(names), dtype=bool)
    inside[present] = slices_of(names.take(pa.array(present)).to_pylist(), users.slices) == users.slice
    rows = inside[user]
    code = (np.cumsum(inside) - 1)[user[rows]].astype(np.int32)
    narrowed = pa.DictionaryArray.from_arrays(pa.array(code), names.filter(pa.array(inside)))
    return table.filter(pa.array(rows)).set_column(place, table.field(place), narrowed)


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
