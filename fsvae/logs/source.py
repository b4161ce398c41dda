"""The chunks of raw rows that every source yields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl


class Malformed(NamedTuple):
    """A row that could not be split into fields: its line, its text and the reason."""

    line: int
    text: str
    reason: str = "wrong number of fields"


@dataclass(frozen=True)
class Chunk:
    """A chunk of rows of a log as they were read.

    `rows` has a `line` column (Int64) and any of the fields of the raw schema of its `table`, in the types of the file
    (CSV: Binary, not decoded yet).
    """

    rows: pl.DataFrame
    malformed: list[Malformed] = field(default_factory=list)
    table: str = "events"
    """Table of the rows: events (`fsvae.schema.RAW_EVENTS`), playlists (`RAW_PLAYLISTS`) or embeddings
    (`TRACK_EMBEDDINGS`)."""
    time_unit: str = ""
    """Unit of played_at, where the format fixes it; empty: that of `SourceConfig.time_unit`."""
    member: str = ""
    """File of an archive to which the lines belong; empty: not an archive."""
    dimension: int = 0
    """Length of the log's first embedding, which all must have; 0 for other tables."""
