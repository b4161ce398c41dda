"""Rejected rows as JSON."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from fsvae.logs.timestamps import in_range


def rows_to_json(rows: pl.DataFrame) -> list[str]:
    """Return the rows as JSON objects; bytes that are not UTF-8 are written as \\xNN."""
    columns: list[list[Any]] = []
    for column in rows:
        if column.dtype == pl.Binary:
            columns.append([None if value is None else value.decode(errors="backslashreplace") for value in column])
        elif column.dtype.is_nested():
            columns.append(column.to_list())
        elif column.dtype.is_temporal():  # a time far outside the valid years cannot be written as a date
            number = column.to_physical()
            sane = pl.select(pl.when(in_range(number, column.dtype)).then(column).cast(pl.String)).to_series()
            columns.append(sane.fill_null(number.cast(pl.String)).to_list())
        else:
            columns.append(column.cast(pl.String, strict=False).to_list())
    names = rows.columns
    return [json.dumps(dict(zip(names, row, strict=True)), default=str) for row in zip(*columns, strict=True)]
