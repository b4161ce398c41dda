"""Any CSV or Parquet file with one listen a row: `source.columns` says which column is which field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fsvae.errors import UserError, nearest
from fsvae.schema import RAW_EVENTS
from pipelines.sources.base import Chunk, SourceConfig
from pipelines.sources.csvfile import fields_of, first_lines, read_csv

_REQUIRED = ("user_id", "track_id", "played_at")


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file (by its ending), or else of a CSV file with a header, plain or compressed.

    Raises:
        UserError: a mapped column is not in the file, a required one is missing, or the file cannot be read.
    """
    if path.suffix == ".parquet":
        yield from _read_parquet(path, config)
        return
    lines = first_lines(path, 1)
    header = fields_of(lines[0] if lines else "", config.delimiter, f"{path}: line 1: ")
    column_of = _columns(path, header, config)
    for chunk in read_csv(path, config.delimiter, header, keep=list(dict.fromkeys(column_of.values()))):
        yield Chunk(_renamed(chunk.rows, column_of), chunk.malformed)


def _read_parquet(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    try:
        with pq.ParquetFile(path) as file:
            column_of = _columns(path, file.schema_arrow.names, config)
            for field, column in column_of.items():
                if pa.types.is_nested(kind := file.schema_arrow.field(column).type):
                    raise UserError(f"{path}: column '{column}' for the field {field} holds {kind}, not single values.")
            line = 1
            for batch in file.iter_batches(batch_size=1 << 17, columns=list(dict.fromkeys(column_of.values()))):
                rows = pl.DataFrame(pl.from_arrow(batch))
                rows = rows.with_columns(pl.Series("line", np.arange(line, line + len(rows)), dtype=pl.Int64))
                line += len(rows)
                yield Chunk(_renamed(rows, column_of))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet: {error}") from error


def _renamed(rows: pl.DataFrame, column_of: dict[str, str]) -> pl.DataFrame:
    present = {field: column for field, column in column_of.items() if column in rows.columns}
    return rows.select("line", *(pl.col(column).alias(field) for field, column in present.items()))


def _columns(path: Path, header: list[str], config: SourceConfig) -> dict[str, str]:
    """Return the column of each field that the file has."""
    for field in config.columns:
        if field not in RAW_EVENTS.names:
            raise UserError(
                f"source.columns: '{field}' is not a field of a listen; the fields are {', '.join(RAW_EVENTS.names)}."
                f"{nearest(field, RAW_EVENTS.names)}"
            )
    column_of = {field: config.columns.get(field, field) for field in RAW_EVENTS.names}
    for field, column in column_of.items():
        if column not in header and (field in _REQUIRED or field in config.columns):
            names = [name for name in header if len(name) <= 100 and name.isprintable()]
            has = ", ".join(names[:50]) or "none that can be read"
            raise UserError(
                f"{path}: line 1: no column '{column}' for the field {field}; it has {has}."
                f"{nearest(column, names)} Name it: 'source.columns={{{field}: COLUMN}}'."
            )
        if header.count(column) > 1:
            raise UserError(f"{path}: line 1: {header.count(column)} columns are named '{column}'. Rename one of them.")
    return {field: column for field, column in column_of.items() if column in header}
