"""The files of a lake: events as daily Parquet files and metadata of tracks, listed by one manifest.

Readers see only files that the manifest names, and the manifest is replaced in one step.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from fsvae.errors import UserError
from fsvae.files import in_schema, write_parquet
from fsvae.prepare.buckets import N_BUCKETS
from fsvae.schema import LAKE_EVENTS, PLAYLISTS, SCHEMA_VERSION, TRACK_EMBEDDINGS, TRACKS
from fsvae.storage import Folder

_ROW_GROUP = 1 << 14
"""Least number of rows in a row group of a day, which holds whole buckets, so that some users can be read alone."""


@dataclass(frozen=True)
class SideTable:
    """A table beside the events: its schema, and the columns that identify a row."""

    schema: pa.Schema
    key: list[str]


SIDE_TABLES = {
    "playlists": SideTable(PLAYLISTS, ["playlist_id", "position"]),
    "embeddings": SideTable(TRACK_EMBEDDINGS, ["track_id"]),
}


@dataclass
class LakeManifest:
    """The contents of a lake: its daily files, its tracks, and the logs that were ingested."""

    schema_version: int = SCHEMA_VERSION
    n_buckets: int = N_BUCKETS
    days: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Day (YYYY-MM-DD) → path within the lake, rows, checksum."""
    tracks: dict[str, Any] | None = None
    playlists: list[dict[str, Any]] = field(default_factory=list)
    """Path within the lake, rows and checksum of each file of playlists, in order of arrival."""
    embeddings: list[dict[str, Any]] = field(default_factory=list)
    """Path within the lake, rows and checksum of each file of track embeddings, in order of arrival."""
    logs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key of a log → its name and row counts: rows_in = taken + rejected + duplicates.

    That of a store of posted events has a watermark, too: how far it was read.
    """


class LakeFiles:
    """The files of a lake in a folder; opening it reads the manifest only."""

    def __init__(self, where: str | Path | Folder) -> None:
        """Open a lake, which may be empty.

        Raises:
            UserError: the lake was written with another schema version.
        """
        self.root = Folder.at(where)
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> LakeManifest:
        if not self.root.exists("manifest.json"):
            return LakeManifest()
        stored = self.root.read_json("manifest.json")
        if stored.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                f"{self.root}/manifest.json: schema_version is {stored.get('schema_version')}, this program reads "
                f"{SCHEMA_VERSION}. Ingest the logs again into a new workdir."
            )
        return LakeManifest(**stored)

    def commit(self) -> None:
        """Write the manifest in memory to the lake."""
        self.root.write_json("manifest.json", asdict(self.manifest))

    def days(self, before: str | None = None) -> list[str]:
        """Return the days, or those before a day (YYYY-MM-DD), in order.

        Raises:
            UserError: there are no such days.
        """
        days = [day for day in sorted(self.manifest.days) if before is None or day < before]
        if not days:
            until = f" before {before}" if before else ""
            raise UserError(f"{self.root}: the lake holds no events{until}. Put some in: fsvae ingest --help.")
        return days

    def write_day(self, day: str, events: pl.DataFrame) -> None:
        """Write a day's events (already in order) and name the file in the manifest in memory."""
        table = in_schema(events, LAKE_EVENTS)
        bounds = _row_groups(events["bucket"].to_numpy())
        pieces = [table.slice(begin, end - begin) for begin, end in pairwise(bounds)]
        self.manifest.days[day] = self._write(f"events/date={day}", pieces, LAKE_EVENTS)

    def write_tracks(self, tracks: pl.DataFrame) -> None:
        """Write the metadata of all tracks and name the file in the manifest in memory."""
        self.manifest.tracks = self._write("tracks", [in_schema(tracks, TRACKS)], TRACKS)

    def write_side(self, table: str, rows: pl.DataFrame) -> dict[str, Any]:
        """Write rows of playlists or embeddings; return the file's entry, which the caller adds to the manifest."""
        schema = SIDE_TABLES[table].schema
        return self._write(table, [in_schema(rows, schema)], schema)

    def read_embeddings(self) -> pl.DataFrame:
        """Return all track embeddings; of a track the last that came stays."""
        empty = pl.DataFrame(pl.from_arrow(SIDE_TABLES["embeddings"].schema.empty_table()))
        files = (pq.read_table(self.open(entry)) for entry in self.manifest.embeddings)
        rows = pl.concat([empty, *(pl.DataFrame(pl.from_arrow(file)) for file in files)])
        return rows.unique(SIDE_TABLES["embeddings"].key, keep="last", maintain_order=True)

    def read_day(self, day: str) -> pl.DataFrame | None:
        """Return a day's events in lake order, or None where there are none."""
        entry = self.manifest.days.get(day)
        if entry is None:
            return None
        return pl.DataFrame(pl.from_arrow(pq.read_table(self.open(entry), partitioning=None)))

    def read_tracks(self) -> pl.DataFrame:
        """Return all tracks, sorted by id."""
        if self.manifest.tracks is None:
            return pl.DataFrame(schema=pl.DataFrame(TRACKS.empty_table()).schema)
        return pl.DataFrame(pl.from_arrow(pq.read_table(self.open(self.manifest.tracks))))

    def open(self, entry: dict[str, Any]) -> pa.NativeFile:
        """Open a file that the manifest names.

        Raises:
            UserError: the file is gone: files are swept when an ingest commits newer ones.
        """
        try:
            return self.root.open(entry["path"])
        except FileNotFoundError as error:
            raise UserError(f"{self.root}: an ingest changed the lake while it was read. Run this again.") from error

    def _write(self, folder: str, pieces: list[pa.Table], schema: pa.Schema) -> dict[str, Any]:
        sink = pa.BufferOutputStream()
        write_parquet(sink, pieces, schema)
        data = sink.getvalue()
        digest = xxhash.xxh3_128_hexdigest(data)
        path = f"{folder}/part-{digest[:16]}.parquet"
        self.root.write(path, data)
        return {"path": path, "rows": sum(len(piece) for piece in pieces), "checksum": digest}


def _row_groups(bucket: np.ndarray[Any, np.dtype[np.int16]]) -> list[int]:
    """Return the begins of the row groups, and the end: equally many buckets each, as in a shard of the users."""
    groups = N_BUCKETS
    while groups > 1 and len(bucket) < groups * _ROW_GROUP:
        groups //= 2
    firsts = np.arange(0, N_BUCKETS, N_BUCKETS // groups)
    return sorted({*np.searchsorted(bucket, firsts).tolist(), len(bucket)})
