"""Ingest of playlists and track embeddings, as immutable files that the lake's manifest lists."""

from __future__ import annotations

from typing import Any

import polars as pl

from fsvae.prepare.lake_files import SIDE_TABLES
from pipelines.lake.lake import Lake

_ROWS_A_FILE = {"playlists": 2_000_000, "embeddings": 200_000}


class SideData:
    """The side data of one log, written while it is read; readers see it after `commit`."""

    def __init__(self, lake: Lake) -> None:
        """Start with a new log."""
        self._lake = lake
        self._buffers: dict[str, list[pl.DataFrame]] = {table: [] for table in SIDE_TABLES}
        self._entries: dict[str, list[dict[str, Any]]] = {table: [] for table in SIDE_TABLES}
        self.taken = 0
        self.duplicates = 0

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """Add rows that passed the checks."""
        buffer = self._buffers[table]
        buffer.append(rows.select(SIDE_TABLES[table].schema.names))
        if sum(map(len, buffer)) >= _ROWS_A_FILE[table]:
            self._write(table)

    def commit(self) -> None:
        """Name what was added in the manifest in memory."""
        for table in SIDE_TABLES:
            if self._buffers[table]:
                self._write(table)
            getattr(self._lake.manifest, table).extend(self._entries[table])

    def _write(self, table: str) -> None:
        rows = pl.concat(self._buffers[table])
        unique = rows.unique(SIDE_TABLES[table].key, keep="first", maintain_order=True)
        self._buffers[table].clear()
        self._entries[table].append(self._lake.write_side(table, unique))
        self.taken += len(unique)
        self.duplicates += len(rows) - len(unique)
