"""Faults of rows → rejects: file, line, field, reason, and the row as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fsvae.logs.row_json import rows_to_json
from fsvae.logs.source import Chunk
from fsvae.schema import REJECTS

_SHOWN = 40
"""Number of characters of a rejected value that a message shows."""


@dataclass(frozen=True)
class Fault:
    """A fault: the rows that have it (null counts as no), the field, and the reason."""

    failed: pl.Series
    field: str
    reason: str


def first_faults(faults: list[Fault], n_rows: int) -> pl.DataFrame:
    """Return the first fault of every row as (field, reason), null where there is none."""
    reason = pl.Series("reason", [None] * n_rows, dtype=pl.String)
    field = pl.Series("field", [None] * n_rows, dtype=pl.String)
    for fault in reversed(faults):
        rows = fault.failed.fill_null(False).arg_true()
        if len(rows):
            reason = reason.scatter(rows, fault.reason)
            field = field.scatter(rows, fault.field)
    return pl.DataFrame([field, reason])


def rejects_of(chunk: Chunk, path: Path, faults: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    """Return the rows of a chunk that have a fault, and its malformed ones, as REJECTS."""
    rows = chunk.rows.filter(faults["field"].is_not_null())
    bad = faults.filter(pl.col("field").is_not_null())
    dumped = rows_to_json(rows.select(name for name in fields if name in rows.columns))
    malformed = chunk.malformed
    source = str(path / chunk.member) if chunk.member else str(path)
    return pl.DataFrame(
        {
            "source": [source] * (len(bad) + len(malformed)),
            "line": rows["line"].to_list() + [row.line for row in malformed],
            "field": bad["field"].to_list() + ["row"] * len(malformed),
            "reason": bad["reason"].to_list() + [row.reason for row in malformed],
            "row": dumped + [json.dumps(row.text) for row in malformed],
        },
        schema=pl.Schema({name: pl.Int64 if name == "line" else pl.String for name in REJECTS.names}),
    )


def first_told(rejects: pl.DataFrame) -> str:
    """Return the line, field, reason and value of the first of some REJECTS."""
    first = rejects.row(0, named=True)
    row = json.loads(first["row"])
    value = row.get(first["field"]) if isinstance(row, dict) else row
    told = f"line {first['line']}, {first['field']}: {first['reason']}"
    return told if value is None else f"{told}: {str(value)[:_SHOWN]!r}"
