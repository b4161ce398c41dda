"""What every source takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl


@dataclass
class SourceConfig:
    """Where a listening log lies and how to read it."""

    reader: str = "table"
    """Which file of pipelines/sources reads it: table or jodie."""
    path: str = ""
    """A file, or a folder whose files are all read."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column of the log for each field that is not named as in `fsvae.schema.RAW_EVENTS`, as field: column."""
    delimiter: str = ","
    """Of CSV files."""
    time_unit: str = "iso"
    """How played_at is written: iso (2026-01-31T12:00:00Z), or a number since `origin` in s, ms or us."""
    origin: str = "1970-01-01"
    """The UTC day from which numeric times count."""
    max_reject_share: float = 0.05
    """The run fails, and takes nothing, if a larger share of the rows is rejected."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a log as they were read.

    `rows` has a `line` column (Int64) and any of the fields of the raw schema of its `table`, in whatever type the file
    had them (CSV: Binary, not decoded yet). `malformed` are (line, text) of rows that could not be split into fields.
    """

    rows: pl.DataFrame
    malformed: list[tuple[int, str]] = field(default_factory=list)
    table: str = "events"
    """What the rows are: events (`fsvae.schema.RAW_EVENTS`), playlists (`RAW_PLAYLISTS`) or embeddings
    (`TRACK_EMBEDDINGS`)."""
