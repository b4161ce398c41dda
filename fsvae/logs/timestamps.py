"""Times of rows: numbers, ISO text or typed times → microseconds since 1970 UTC. All vectorised."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from fsvae.errors import UserError
from fsvae.features.clock import DAY_US
from fsvae.schema import LATEST

LATEST_US = int(LATEST.timestamp() * 1_000_000)
"""Time from which on rows are rejected [us since 1970 UTC]."""

_ISO = (
    r"^(?<day>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>[0-5]\d)(?:[.,](?<fraction>\d+))?)?"
    r" ?(?:[Zz]|UTC|(?<sign>[+-])(?<zone_hour>[01]\d|2[0-3]):?(?<zone_minute>[0-5]\d)?)?)?$"
)
_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def _us_per_step(dtype: pl.DataType) -> int:
    """Return the microseconds of one step of a date's or time's number; 0 for nanoseconds."""
    if isinstance(dtype, pl.Datetime):
        return {"ms": 1_000, "us": 1, "ns": 0}[dtype.time_unit]
    return DAY_US


def in_range(number: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return whether the number behind a date or time is in the years 0 to 2100 or so."""
    step = _us_per_step(dtype)
    return number.is_between(-30 * LATEST_US // step, LATEST_US // step) if step else number.is_not_null()


def time_us(dtype: pl.DataType, unit: str, origin: str) -> pl.Expr:
    """Return played_at as Int64 microseconds since 1970 UTC; null where it cannot be read, -1 where it overflows.

    Args:
        dtype: type of the column as it was read.
        unit: format of a column without a time type: iso, or a number since `origin` in s, ms or us.
        origin: the UTC day from which numbers count.

    Raises:
        UserError: the unit or the origin is not one that is known.
    """
    column = pl.col("played_at")
    if isinstance(dtype, pl.Datetime | pl.Date):  # the number of a time with a zone is in UTC; without one it is
        number, step = column.to_physical().cast(pl.Int64), _us_per_step(dtype)  # taken to be
        return _scaled(number, step, 0) if step else number // 1_000
    if unit == "iso":
        return column.cast(pl.String, strict=False).map_batches(iso_us, return_dtype=pl.Int64)
    if unit not in _UNITS_US:
        raise UserError(f"source.time_unit: '{unit}' is not one of iso, {', '.join(_UNITS_US)}.")
    step, start = _UNITS_US[unit], origin_us(origin)
    whole = _scaled(column.cast(pl.Int64, strict=False), step, start)
    if dtype.is_integer():
        return whole
    number = column.cast(pl.Float64, strict=False)
    finite = pl.when(number.is_finite() & (number.abs() < 1e18 / step)).then(number)
    with_fraction = (finite * step).round().cast(pl.Int64, strict=False) + start
    return with_fraction if dtype.is_float() else pl.coalesce(whole, with_fraction)


def origin_us(day: str) -> int:
    """Return 00:00 UTC of a day in microseconds since 1970.

    Raises:
        UserError: the text is not a day.
    """
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000
    except ValueError as error:
        raise UserError(f"source.origin: '{day}' is not a day such as 2026-01-31.") from error


def _scaled(number: pl.Expr, unit: int, origin: int) -> pl.Expr:
    """Return number * unit + origin, or -1 where that would overflow."""
    limit = 2**62 // unit
    fits = number.is_between(-limit, limit)
    return pl.when(fits).then(number * unit + origin).when(number.is_not_null()).then(pl.lit(-1, dtype=pl.Int64))


def iso_us(text: pl.Series) -> pl.Series:
    """Return ISO 8601 times as microseconds since 1970 UTC; each is read independently of other rows."""
    plain = text.str.strip_suffix("Z").str.strip_suffix("+00:00")
    usual = plain.str.len_bytes().is_in([19, 23, 26]) & (plain.str.slice(17, 2) != "60")  # to the second, ms or us
    between = " " if text.str.slice(10, 1).head(1).to_list() == [" "] else "T"
    plain = plain.set(~usual, None)
    quick = plain.str.to_datetime(f"%Y-%m-%d{between}%H:%M:%S%.f", time_unit="us", strict=False).dt.timestamp("us")
    rest = quick.is_null() & text.is_not_null()
    if not rest.any():
        return quick
    # The other formats, some forty times slower.
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
