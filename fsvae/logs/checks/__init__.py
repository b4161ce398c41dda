"""Row checks of ingest: raw rows in; well-typed rows, and rejects with their reasons, out. All vectorised."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.logs.checks.embedding_rows import check_embeddings
from fsvae.logs.checks.event_rows import check_events
from fsvae.logs.checks.playlist_rows import check_playlists
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig


def check_rows(chunk: Chunk, path: Path, config: SourceConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into rows of its table (columns of the raw schema and `line`) and rejects: no row is lost.

    Raises:
        UserError: the source's time unit or origin is not one that is known.
    """
    if chunk.table == "events":
        return check_events(chunk, path, config)
    return {"playlists": check_playlists, "embeddings": check_embeddings}[chunk.table](chunk, path)
