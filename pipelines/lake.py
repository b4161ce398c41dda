"""The lake: listening events as daily Parquet files, listed by one manifest.

A file that the manifest does not name does not exist for a reader, and the manifest is replaced in one step: so a
writer that is killed leaves the lake as it was, and the next writer sweeps up what it left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import xxhash

from fsvae.errors import UserError
from fsvae.schema import LAKE_EVENTS, PLAYLISTS, SCHEMA_VERSION, TRACK_EMBEDDINGS, TRACKS
from pipelines.files import checksum, fingerprint, held, write_json, write_parquet

N_BUCKETS = 64
"""Users are spread over this many buckets by a stable hash; fixed for the life of a lake."""


@dataclass(frozen=True)
class SideTable:
    """A table of what is no event: its schema, and the columns that name a row."""

    schema: pa.Schema
    key: list[str]


SIDE_TABLES = {
    "playlists": SideTable(PLAYLISTS, ["playlist_id", "position"]),
    "embeddings": SideTable(TRACK_EMBEDDINGS, ["track_id"]),
}


@dataclass
class LakeManifest:
    """What a lake holds: its daily files, its tracks, and the logs that went in."""

    schema_version: int = SCHEMA_VERSION
    n_buckets: int = N_BUCKETS
    days: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Day (YYYY-MM-DD) → path within the lake, rows, checksum."""
    tracks: dict[str, Any] | None = None
    playlists: list[dict[str, Any]] = field(default_factory=list)
    """Path within the lake, rows, checksum of files of playlists, in the order in which they came."""
    embeddings: list[dict[str, Any]] = field(default_factory=list)
    """The same of files of track embeddings."""
    logs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a log is remembered by → its name and the row counts: rows_in = taken + rejected + duplicates."""


class Lake:
    """A lake in a folder; opening it reads the manifest and nothing else."""

    def __init__(self, root: Path) -> None:
        """Open a lake, which may be empty.

        Raises:
            UserError: the lake was written with another schema version.
        """
        self.root = root
        self._manifest_path = root / "manifest.json"
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> LakeManifest:
        if not self._manifest_path.exists():
            return LakeManifest()
        stored = json.loads(self._manifest_path.read_text())
        if stored.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                f"{self._manifest_path}: schema_version is {stored.get('schema_version')}, this program reads "
                f"{SCHEMA_VERSION}. Ingest the logs again into a new workdir."
            )
        return LakeManifest(**stored)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Hold the lake for writing; yields an empty staging folder and sweeps files no manifest names.

        Raises:
            UserError: another process holds the lake.
        """
        with held(self.root / ".lock", f"{self.root}: another ingest is writing this lake; wait for it to end."):
            self.manifest = self._read_manifest()  # another writer may have committed before we got the lock
            staging = self.root / ".staging"
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                self._sweep()

    def commit(self) -> None:
        """Make the manifest in memory the lake's."""
        write_json(self._manifest_path, asdict(self.manifest))

    def write_day(self, day: str, events: pl.DataFrame) -> None:
        """Write a day's events (already in order) and name the file in the manifest in memory."""
        self.manifest.days[day] = self._write(f"events/date={day}", events, LAKE_EVENTS)

    def write_tracks(self, tracks: pl.DataFrame) -> None:
        """Write what is known of all tracks and name the file in the manifest in memory."""
        self.manifest.tracks = self._write("tracks", tracks, TRACKS)

    def write_side(self, table: str, rows: pl.DataFrame) -> dict[str, Any]:
        """Write rows of playlists or embeddings; return the entry that names them once it is in the manifest."""
        return self._write(table, rows, SIDE_TABLES[table].schema)

    def read_playlists(self) -> pl.DataFrame:
        """Return all playlists; of equal (playlist, position) the first that came stays."""
        return self._read_side("playlists").unique(SIDE_TABLES["playlists"].key, keep="first", maintain_order=True)

    def read_embeddings(self) -> pl.DataFrame:
        """Return all track embeddings; of a track the last that came stays."""
        return self._read_side("embeddings").unique(SIDE_TABLES["embeddings"].key, keep="last", maintain_order=True)

    def _read_side(self, table: str) -> pl.DataFrame:
        empty = pl.DataFrame(pl.from_arrow(SIDE_TABLES[table].schema.empty_table()))
        files = [pl.read_parquet(self.root / entry["path"]) for entry in getattr(self.manifest, table)]
        return pl.concat([empty, *files])

    def read_day(self, day: str) -> pl.DataFrame | None:
        """Return a day's events in lake order, or None where there are none."""
        entry = self.manifest.days.get(day)
        return None if entry is None else pl.read_parquet(self.root / entry["path"], hive_partitioning=False)

    def read_tracks(self) -> pl.DataFrame:
        """Return all tracks, sorted by id."""
        if self.manifest.tracks is None:
            return pl.DataFrame(schema=pl.DataFrame(TRACKS.empty_table()).schema)
        return pl.read_parquet(self.root / self.manifest.tracks["path"])

    def read_events(self, before_day: str | None = None) -> pl.DataFrame:
        """Return the events of all days, or of those before a day (YYYY-MM-DD), each day in lake order.

        Raises:
            UserError: there are none.
        """
        days = [day for day in sorted(self.manifest.days) if before_day is None or day < before_day]
        if not days:
            until = f" before {before_day}" if before_day else ""
            raise UserError(f"{self.root}: the lake holds no events{until}. Put some in: fsvae ingest --help.")
        paths = [self.root / self.manifest.days[day]["path"] for day in days]
        try:
            return pl.concat(pl.read_parquet(path, hive_partitioning=False) for path in paths)
        except FileNotFoundError as error:  # its files are swept when an ingest commits newer ones
            raise UserError(f"{self.root}: an ingest changed the lake while it was read. Run this again.") from error

    def fingerprint(self, before_day: str | None = None) -> str:
        """Return what names the events before a day, and the tracks."""
        days = {d: e["checksum"] for d, e in self.manifest.days.items() if before_day is None or d < before_day}
        return fingerprint([days, self.manifest.tracks])

    def _write(self, folder: str, frame: pl.DataFrame, schema: Any) -> dict[str, Any]:
        temporary = self.root / ".staging" / "writing.parquet"
        write_parquet(temporary, frame, schema)
        digest = checksum(temporary)
        path = Path(folder) / f"part-{digest[:16]}.parquet"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(self.root / path)
        return {"path": str(path), "rows": len(frame), "checksum": digest}

    def _sweep(self) -> None:
        committed = self._read_manifest()
        named = {entry["path"] for entry in committed.days.values()}
        named |= {log["rejects"] for log in committed.logs.values()}
        if committed.tracks:
            named.add(committed.tracks["path"])
        named |= {entry["path"] for entry in committed.playlists + committed.embeddings}
        for path in self.root.glob(".manifest.json.*.tmp"):  # of a writer killed while it wrote it
            path.unlink()
        for path in self.root.glob("*/**/*.parquet"):
            if str(path.relative_to(self.root)) not in named:
                path.unlink()


def buckets_of(user_ids: pl.Series) -> pl.Series:
    """Return the bucket (Int16) of each user id: xxh64 of its UTF-8 bytes modulo N_BUCKETS."""
    unique = user_ids.unique()
    values = [xxhash.xxh64_intdigest(user.encode()) % N_BUCKETS for user in unique.to_list()]
    return user_ids.replace_strict(unique, pl.Series(values, dtype=pl.Int16), return_dtype=pl.Int16)
