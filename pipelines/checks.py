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
_ISO = (
    r"^(?<day>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>[0-5]\d)(?:[.,](?<fraction>\d+))?)?"
    r" ?(?:[Zz]|UTC|(?<sign>[+-])(?<zone_hour>[01]\d|2[0-3]):?(?<zone_minute>[0-5]\d)?)?)?$"
)
_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def check_rows(chunk: Chunk, path: Path, config: SourceConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into events (columns of RAW_EVENTS and `line`) and rejects (REJECTS): no row is lost.

    Raises:
        UserError: the source's time unit or origin is not one that is known.
    """
    raw = chunk.rows
    present = [name for name in RAW_EVENTS.names if name in raw.columns]
    missing = [name for name in RAW_EVENTS.names if name not in raw.columns]
    raw = raw.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    text = raw.with_columns(
        _decoded(raw[name]) if raw.schema[name] == pl.Binary else raw[name].cast(pl.String, strict=False)
        for name in RAW_EVENTS.names
        if name in _TEXT or raw.schema[name] == pl.Binary
    )
    parsed = text.with_columns(
        pl.col("kind").fill_null("listen"),
        _time_us(text.schema["played_at"], config).alias("played_at"),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS),
    )
    faults = _faults(raw, text, parsed)
    good = parsed.filter(faults["field"].is_null())
    bad = faults.with_columns(raw["line"]).filter(pl.col("field").is_not_null())
    dumped = _dump(raw.filter(faults["field"].is_not_null()).select(present))
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


def _decoded(column: pl.Series) -> pl.Series:
    """Return bytes as text, null where they are no UTF-8."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:  # polars gives up on the whole column, in spite of strict=False
        return pl.Series(column.name, [_text_or_none(value) for value in column], dtype=pl.String)


def _text_or_none(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _dump(rows: pl.DataFrame) -> list[str]:
    """Return the rows as JSON objects; bytes that are no UTF-8 are written as \\xNN."""
    columns: list[list[str | None]] = []
    for column in rows:
        if column.dtype == pl.Binary:
            columns.append([None if value is None else value.decode(errors="backslashreplace") for value in column])
        elif column.dtype.is_temporal():  # one far outside our years cannot be written as a date
            number = column.to_physical()
            sane = pl.select(pl.when(_in_range(number, column.dtype)).then(column).cast(pl.String)).to_series()
            columns.append(sane.fill_null(number.cast(pl.String)).to_list())
        else:
            columns.append(column.cast(pl.String, strict=False).to_list())
    names = rows.columns
    return [json.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _us_per_step(dtype: pl.DataType) -> int:
    """Return the microseconds of one step of a date's or time's number; 0 for nanoseconds."""
    if isinstance(dtype, pl.Datetime):
        return {"ms": 1_000, "us": 1, "ns": 0}[dtype.time_unit]
    return 86_400_000_000


def _in_range(number: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return whether the number behind a date or time is in the years 0 to 2100 or so."""
    step = _us_per_step(dtype)
    return number.is_between(-30 * _LATEST_US // step, _LATEST_US // step) if step else number.is_not_null()


def _time_us(dtype: pl.DataType, config: SourceConfig) -> pl.Expr:
    """Return played_at as Int64 microseconds since 1970 UTC; null where it cannot be read, -1 where it is too far."""
    column = pl.col("played_at")
    if isinstance(dtype, pl.Datetime | pl.Date):  # the number behind a time with a zone is in UTC; without one it is
        number, step = column.to_physical().cast(pl.Int64), _us_per_step(dtype)  # taken to be
        return _scaled(number, step, 0) if step else number // 1_000
    if config.time_unit == "iso":
        return column.cast(pl.String, strict=False).map_batches(_iso_us, return_dtype=pl.Int64)
    if config.time_unit not in _UNITS_US:
        raise UserError(f"source.time_unit: '{config.time_unit}' is not one of iso, {', '.join(_UNITS_US)}.")
    try:
        origin = datetime.fromisoformat(config.origin).replace(tzinfo=UTC)
    except ValueError as error:
        raise UserError(f"source.origin: '{config.origin}' is not a day such as 2026-01-31.") from error
    unit = _UNITS_US[config.time_unit]
    origin_us = int(origin.timestamp()) * 1_000_000
    whole = _scaled(column.cast(pl.Int64, strict=False), unit, origin_us)
    if dtype.is_integer():
        return whole
    number = column.cast(pl.Float64, strict=False)
    finite = pl.when(number.is_finite() & (number.abs() < 1e18 / unit)).then(number)
    with_fraction = (finite * unit).round().cast(pl.Int64, strict=False) + origin_us
    return with_fraction if dtype.is_float() else pl.coalesce(whole, with_fraction)


def _scaled(number: pl.Expr, unit: int, origin: int) -> pl.Expr:
    """Return number * unit + origin, or -1 where that would overflow."""
    limit = 2**62 // unit
    fits = number.is_between(-limit, limit)
    return pl.when(fits).then(number * unit + origin).when(number.is_not_null()).then(pl.lit(-1, dtype=pl.Int64))


def _iso_us(text: pl.Series) -> pl.Series:
    """Return ISO 8601 times as microseconds since 1970 UTC; each is read by itself, whatever stands in other rows."""
    plain = text.str.strip_suffix("Z").str.strip_suffix("+00:00")
    usual = plain.str.len_bytes().is_in([19, 23, 26]) & (plain.str.slice(17, 2) != "60")  # to the second, ms or us
    between = " " if text.str.slice(10, 1).head(1).to_list() == [" "] else "T"
    plain = plain.set(~usual, None)
    quick = plain.str.to_datetime(f"%Y-%m-%d{between}%H:%M:%S%.f", time_unit="us", strict=False).dt.timestamp("us")
    rest = quick.is_null() & text.is_not_null()
    if not rest.any():
        return quick
    # The others, some forty times slower.
    slow = pl.select(_any_iso_us(pl.lit(text.filter(rest)))).to_series()
    return quick.scatter(rest.arg_true(), slow)


def _any_iso_us(text: pl.Expr) -> pl.Expr:
    part = text.str.strip_chars().str.extract_groups(_ISO).struct.field
    clock = [part(name).fill_null("00") for name in ("hour", "minute", "second")]
    seconds = pl.concat_str(part("day"), *clock, separator=":").str.to_datetime(
        "%Y-%m-%d:%H:%M:%S", time_unit="us", strict=False
    )
    fraction = part("fraction").fill_null("").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64, strict=False)
    east = part("sign").replace_strict({"+": 60_000_000, "-": -60_000_000}, default=0, return_dtype=pl.Int64)
    offset = part("zone_hour").fill_null("0").cast(pl.Int64) * 60 + part("zone_minute").fill_null("0").cast(pl.Int64)
    return seconds.dt.timestamp("us") + fraction - east * offset


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
