"""Checks of events: user, track, time, kind and played part."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.logs.checks.columns import as_text, completed, id_faults, milliseconds_faults, number_fields, text_faults
from fsvae.logs.checks.rejects import Fault, first_faults, rejects_of
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.timestamps import LATEST_US, time_us
from fsvae.schema import KINDS, RAW_EVENTS

_NUMBERS = number_fields(RAW_EVENTS)


def check_events(chunk: Chunk, path: Path, config: SourceConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into events (columns of RAW_EVENTS and `line`) and rejects (REJECTS): no row is lost.

    Raises:
        UserError: the source's time unit or origin is not one that is known.
    """
    raw = completed(chunk.rows, RAW_EVENTS)
    text = as_text(raw, RAW_EVENTS)
    unit = chunk.time_unit or config.time_unit
    how = "" if chunk.time_unit else "; source.time_unit says how times are written"
    parsed = text.with_columns(
        pl.col("kind").replace(config.kinds).fill_null("listen"),
        time_us(text.schema["played_at"], unit, config.origin).alias("played_at"),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS),
    )
    faults = first_faults(
        text_faults(raw, text, RAW_EVENTS)
        + id_faults(text, ("user_id", "track_id"))
        + _event_faults(raw, parsed, how)
        + milliseconds_faults(raw, parsed, _NUMBERS),
        len(raw),
    )
    events = (
        parsed.filter(faults["field"].is_null())
        .select(*RAW_EVENTS.names, "line")
        .with_columns(pl.col("played_at").cast(pl.Datetime("us", "UTC")), pl.col(_NUMBERS).cast(pl.Int32))
    )
    return events, rejects_of(chunk, path, faults, RAW_EVENTS.names)


def _event_faults(raw: pl.DataFrame, parsed: pl.DataFrame, how: str) -> list[Fault]:
    time = parsed["played_at"]
    outside = (time.fill_null(0) < 0) | (time.fill_null(0) >= LATEST_US)
    return [
        Fault(raw["played_at"].is_null(), "played_at", "missing"),
        Fault(time.is_null(), "played_at", f"not a time{how}"),
        Fault(outside, "played_at", f"not between 1970 and 2100{how}"),
        Fault(~parsed["kind"].is_in(KINDS), "kind", f"not one of {', '.join(KINDS)}; source.kinds says which"),
    ]
