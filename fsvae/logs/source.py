"""What every source takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl


@dataclass
class SourceConfig:
    """Where a listening log lies and how to read it."""

    reader: str = "table"
    """Which file of fsvae/logs/sources reads it."""
    path: str = ""
    """A file, or a folder whose files are all read."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column of the log for each field that is not named as in `fsvae.schema.RAW_EVENTS`, as field: column."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Kind (of `fsvae.schema.KINDS`) for each word of the log, as word: kind; for a number, source.kinds.1=like."""
    delimiter: str = ","
    """Of CSV files."""
    time_unit: str = "iso"
    """How played_at is written: iso (2026-01-31T12:00:00Z), or a number since `origin` in s, ms or us."""
    origin: str = "1970-01-01"
    """The UTC day from which numeric and invented times count."""
    user_id: str = ""
    """Whose log it is, where the log does not say (a Spotify history)."""
    max_reject_share: float = 0.05
    """The run fails, and takes nothing, if a larger share of the rows is rejected."""


class Malformed(NamedTuple):
    """A row that could not be split into fields: its line, its text and why."""

    line: int
    text: str
    reason: str = "wrong number of fields"


@dataclass(frozen=True)
class Chunk:
    """Some rows of a log as they were read.

    `rows` has a `line` column (Int64) and any of the fields of the raw schema of its `table`, in whatever type the file
    had them (CSV: Binary, not decoded yet).
    """

    rows: pl.DataFrame
    malformed: list[Malformed] = field(default_factory=list)
    table: str = "events"
    """What the rows are: events (`fsvae.schema.RAW_EVENTS`), playlists (`RAW_PLAYLISTS`) or embeddings
    (`TRACK_EMBEDDINGS`)."""
    time_unit: str = ""
    """How played_at is written, where the format leaves no choice; else as `SourceConfig.time_unit` says."""
    member: str = ""
    """Which file of an archive the lines are of."""
    dimension: int = 0
    """Of embeddings: the length of the log's first, which all must have."""
