"""What every source gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl


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
    """Length of the log's first embedding, which all must have; 0: there is none."""
