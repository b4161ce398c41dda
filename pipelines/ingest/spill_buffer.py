"""Spill buffers: rows of one log until its end, in memory, and on disk beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl


class SpillBuffer:
    """A spill buffer of frames of one schema, in order."""

    def __init__(self, folder: Path, name: str, rows_in_memory: int) -> None:
        """Keep about `rows_in_memory` rows in memory, all others in Arrow files with a name in a folder."""
        self._folder = folder
        self._name = name
        self._limit = rows_in_memory
        self._files: list[Path] = []
        self._buffer: list[pl.DataFrame] = []
        self._buffered = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows."""
        if len(rows):
            self._buffer.append(rows)
            self._buffered += len(rows)
            if self._buffered > self._limit:
                self.to_disk()

    def to_disk(self) -> None:
        """Move the rows in memory to disk."""
        if self._buffer:
            self._files.append(self._folder / f"{self._name}-{len(self._files)}.arrow")
            pl.concat(self._buffer).write_ipc(self._files[-1])
            self._buffer.clear()
            self._buffered = 0

    def frames(self) -> Iterator[pl.DataFrame]:
        """Return the rows again, in some frames."""
        for file in self._files:
            yield pl.read_ipc(file)
        if self._buffer:
            yield pl.concat(self._buffer)

    def clear(self) -> None:
        """Forget the rows."""
        for file in self._files:
            file.unlink()
        self._files.clear()
        self._buffer.clear()


class SpillBufferByDay:
    """Spill buffers of the events of one log, by UTC day."""

    def __init__(self, folder: Path, rows_in_memory: int) -> None:
        """Keep about `rows_in_memory` rows in memory, all others in a folder."""
        self._folder = folder
        self._limit = rows_in_memory
        self._arrived: list[pl.DataFrame] = []
        self._rows = 0
        self._days: dict[str, SpillBuffer] = {}

    def add(self, events: pl.DataFrame) -> None:
        """Add events, in their order within the log."""
        if events.is_empty():
            return
        self._arrived.append(events)
        self._rows += len(events)
        if self._rows > self._limit:
            self._sort_in()
            for buffer in self._days.values():
                buffer.to_disk()

    def days(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Return each day (YYYY-MM-DD) in order, with its events, and forget it."""
        self._sort_in()
        for day in sorted(self._days):
            buffer = self._days.pop(day)
            yield day, pl.concat(buffer.frames())
            buffer.clear()

    def _sort_in(self) -> None:
        if not self._arrived:
            return
        events = pl.concat(self._arrived).with_columns(pl.col("played_at").dt.date().alias("date"))
        self._arrived.clear()
        self._rows = 0
        if events["date"].min() == events["date"].max():  # the usual log holds one day
            parts = {events["date"][0]: events}
        else:
            parts = {day: rows for (day,), rows in events.partition_by("date", as_dict=True).items()}
        for day, rows in parts.items():
            name = day.isoformat()
            self._days.setdefault(name, SpillBuffer(self._folder, name, self._limit)).add(rows.drop("date"))
