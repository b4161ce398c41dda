"""Row checks of ingest: raw rows in, well-typed events and rejects with their reasons out. All vectorised."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from fsvae.errors import UserError
from fsvae.schema import KINDS, MAX_ID_LENGTH, RAW_EVENTS, REJECTS
from pipelines.sources.base import Chunk, SourceConfig

_TEXT = [field.name for field in RAW_EVENTS if pa.types.is_string(field.type)]
_NUMBERS = [field.name for field in RAW_EVENTS if pa.types.is_int32(field.type)]
_LATEST_US = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def check_rows(chunk: Chunk, path: Path, config: SourceConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into events (columns of RAW_EVENTS and `line`) and rejects (REJECTS): no row is lost.

    Raises:
        UserError: the source's time unit or origin is not one that is known.
    """
    raw = chunk.rows
    missing = [name for name in RAW_EVENTS.names if name not in raw.columns]
    raw = raw.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    text = raw.with_columns(pl.col(_TEXT).cast(pl.String, strict=False))
    if raw.schema["played_at"] == pl.Binary:
        text = text.with_columns(pl.col("played_at").cast(pl.String, strict=False))
    text = text.with_columns(
        pl.col(name).cast(pl.String, strict=False) for name in _NUMBERS if raw.schema[name] == pl.Binary
    )
    parsed = text.with_columns(
        pl.col("kind").fill_null("listen"),
        _time_us(text.schema["played_at"], config).alias("played_at"),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS),
    )
    faults = _faults(raw, text, parsed)
    good = parsed.filter(faults["field"].is_null())
    bad = faults.with_columns(raw["line"]).filter(pl.col("field").is_not_null())
    as_text = text.select(pl.struct(pl.col(name).cast(pl.String) for name in RAW_EVENTS.names if name not in missing))
    dumped = [json.dumps(row, default=str) for row in as_text.to_series().filter(faults["field"].is_not_null())]
    rejects = pl.DataFrame(
        {
            "source": [str(path)] * (len(bad) + len(chunk.malformed)),
            "line": bad["line"].to_list() + [line for line, _ in chunk.malformed],
            "field": bad["field"].to_list() + ["row"] * len(chunk.malformed),
            "reason": bad["reason"].to_list() + ["wrong number of fields"] * len(chunk.malformed),
            "row": dumped + [json.dumps(line) for _, line in chunk.malformed],
        },
        schema=pl.Schema({name: pl.Int64 if name == "line" else pl.String for name in REJECTS.names}),
    )
    events = good.select(
        *(pl.col(name).cast(pl.Int32) if name in _NUMBERS else pl.col(name) for name in RAW_EVENTS.names), "line"
    ).with_columns(pl.col("played_at").cast(pl.Datetime("us", "UTC")))
    return events, rejects


def _time_us(dtype: pl.DataType, config: SourceConfig) -> pl.Expr:
    """Return played_at as Int64 microseconds since 1970 UTC; null where it cannot be read."""
    column = pl.col("played_at")
    if isinstance(dtype, pl.Datetime):
        utc = column if dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        return utc.dt.timestamp("us")
    if config.time_unit == "iso":
        return column.cast(pl.String).str.to_datetime(time_unit="us", time_zone="UTC", strict=False).dt.timestamp("us")
    if config.time_unit not in _UNITS_US:
        raise UserError(f"source.time_unit: '{config.time_unit}' is not one of iso, {', '.join(_UNITS_US)}.")
    try:
        origin = datetime.fromisoformat(config.origin).replace(tzinfo=UTC)
    except ValueError as error:
        raise UserError(f"source.origin: '{config.origin}' is not a day such as 2026-01-31.") from error
    unit = _UNITS_US[config.time_unit]
    origin_us = int(origin.timestamp()) * 1_000_000
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False) * unit + origin_us
    whole = column.cast(pl.Int64, strict=False)
    number = column.cast(pl.Float64, strict=False)
    finite = pl.when(number.is_finite() & (number.abs() < 1e18 / unit)).then(number)
    return pl.coalesce(whole * unit, (finite * unit).round().cast(pl.Int64, strict=False)) + origin_us


def _faults(raw: pl.DataFrame, text: pl.DataFrame, parsed: pl.DataFrame) -> pl.DataFrame:
    """Return the first fault of every row as (field, reason), null where there is none."""
    checks: list[tuple[pl.Series, str, str]] = []
    for name in _TEXT:
        checks.append((raw[name].is_not_null() & text[name].is_null(), name, "not valid UTF-8 text"))
    for name in ("user_id", "track_id"):
        value = parsed[name].fill_null("")
        checks.append((value.str.strip_chars() == "", name, "missing"))
        checks.append((value.str.len_chars() > MAX_ID_LENGTH, name, f"longer than {MAX_ID_LENGTH} characters"))
    checks.append((raw["played_at"].is_null(), "played_at", "missing"))
    time = parsed["played_at"]
    checks.append((time.is_null(), "played_at", "not a time in the source's time_unit"))
    outside = (time.fill_null(0) < 0) | (time.fill_null(0) >= _LATEST_US)
    checks.append((outside, "played_at", "not between 1970 and 2100"))
    checks.append((~parsed["kind"].is_in(KINDS), "kind", f"not one of {', '.join(KINDS)}"))
    for name in _NUMBERS:
        value = parsed[name]
        checks.append((raw[name].is_not_null() & value.is_null(), name, "not a number of milliseconds"))
        wrong = value.is_not_null() & ~value.fill_null(0).is_between(0, 2**31 - 1)
        checks.append((wrong, name, "negative or longer than 24 days"))
    reason = pl.Series("reason", [None] * len(raw), dtype=pl.String)
    field = pl.Series("field", [None] * len(raw), dtype=pl.String)
    for failed, name, why in reversed(checks):
        failed = failed.fill_null(False)
        reason = reason.zip_with(~failed, pl.Series("reason", [why], dtype=pl.String).new_from_index(0, len(raw)))
        field = field.zip_with(~failed, pl.Series("field", [name], dtype=pl.String).new_from_index(0, len(raw)))
    return pl.DataFrame([field, reason])
