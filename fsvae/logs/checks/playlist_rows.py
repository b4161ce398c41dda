"""Checks of playlists: playlist, position and track."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.logs.checks.columns import as_text, completed, id_faults, milliseconds_faults, number_fields, text_faults
from fsvae.logs.checks.rejects import Fault, first_faults, rejects_of
from fsvae.logs.source import Chunk
from fsvae.schema import RAW_PLAYLISTS

_NUMBERS = number_fields(RAW_PLAYLISTS)


def check_playlists(chunk: Chunk, path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into rows of playlists (columns of RAW_PLAYLISTS and `line`) and rejects: no row is lost."""
    raw = completed(chunk.rows, RAW_PLAYLISTS)
    text = as_text(raw, RAW_PLAYLISTS)
    parsed = text.with_columns(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS)
    place = parsed["position"]
    faults = first_faults(
        text_faults(raw, text, RAW_PLAYLISTS)
        + id_faults(text, ("playlist_id", "track_id"))
        + [
            Fault(raw["position"].is_null(), "position", "missing"),
            Fault(
                place.is_null() | (place != place.floor()) | ~place.is_between(0, 2**31 - 1),
                "position",
                "not a whole number from 0 on",
            ),
        ]
        + milliseconds_faults(raw, parsed, [name for name in _NUMBERS if name != "position"]),
        len(raw),
    )
    rows = parsed.filter(faults["field"].is_null()).select(*RAW_PLAYLISTS.names, "line")
    rows = rows.with_columns(pl.col(_NUMBERS).cast(pl.Int32))
    return rows, rejects_of(chunk, path, faults, RAW_PLAYLISTS.names)
