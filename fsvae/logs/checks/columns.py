"""Columns as they were read → text and numbers, and the faults common to all tables."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from fsvae.logs.checks.rejects import Fault
from fsvae.schema import MAX_ID_LENGTH

NO_ID = ("", "NULL", "null", "None", "nan", "NaN", "NA", "<NA>", r"\N")
"""Texts that databases, Python, pandas and R write for a missing value; as an id, one would merge many users."""


def text_fields(schema: pa.Schema) -> list[str]:
    """Return the fields of a raw schema that are text."""
    return [field.name for field in schema if pa.types.is_string(field.type)]


def number_fields(schema: pa.Schema) -> list[str]:
    """Return the fields of a raw schema that are whole numbers."""
    return [field.name for field in schema if pa.types.is_int32(field.type)]


def completed(rows: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """Return the rows with all fields of a raw schema: null where the log does not tell."""
    missing = [name for name in schema.names if name not in rows.columns]
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def as_text(raw: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """Return the rows with text fields, and all other bytes, as text; null where it is not UTF-8."""
    text = text_fields(schema)
    return raw.with_columns(
        _decoded(raw[name]) if raw.schema[name] == pl.Binary else raw[name].cast(pl.String, strict=False)
        for name in schema.names
        if name in text or raw.schema[name] == pl.Binary
    )


def text_faults(raw: pl.DataFrame, text: pl.DataFrame, schema: pa.Schema) -> list[Fault]:
    """Return the faults of bytes that are not text."""
    return [
        Fault(raw[name].is_not_null() & text[name].is_null(), name, "not valid UTF-8 text")
        for name in text_fields(schema)
    ]


def id_faults(text: pl.DataFrame, names: tuple[str, ...]) -> list[Fault]:
    """Return the faults of ids, which are required and of bounded length."""
    faults = []
    for name in names:
        value = text[name].fill_null("")
        faults.append(Fault(value.str.strip_chars().is_in(NO_ID), name, "missing"))
        faults.append(Fault(value.str.len_chars() > MAX_ID_LENGTH, name, f"longer than {MAX_ID_LENGTH} characters"))
    return faults


def milliseconds_faults(raw: pl.DataFrame, numbers: pl.DataFrame, names: list[str]) -> list[Fault]:
    """Return the faults of durations; `numbers` holds them as Float64."""
    faults = []
    for name in names:
        value = numbers[name]
        faults.append(Fault(raw[name].is_not_null() & value.is_null(), name, "not a number of milliseconds"))
        wrong = value.is_not_null() & ~value.fill_null(0).is_between(0, 2**31 - 1)
        faults.append(Fault(wrong, name, "negative or longer than 24 days"))
    return faults


def _decoded(column: pl.Series) -> pl.Series:
    """Return bytes as text, null where they are not UTF-8."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:  # polars gives up on the whole column, in spite of strict=False
        return pl.Series(column.name, [_text_or_none(value) for value in column], dtype=pl.String)


def _text_or_none(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
