"""Streaming Parquet: some columns of single values or of lists, with their row numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from fsvae.errors import UserError

BATCH_ROWS = 1 << 17
_BUFFER_BYTES = 1 << 20


def parquet_schema(path: Path) -> pa.Schema:
    """Return the columns of a file and their types.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet: {error}") from error


def read_parquet(
    path: Path,
    columns: list[str],
    lists: Collection[str] = (),
    batch_rows: int = BATCH_ROWS,
    raw_bytes: bool = False,
) -> Iterator[pl.DataFrame]:
    """Stream some columns of a file and `line`, the number of the row from 1.

    Args:
        path: the file.
        columns: the columns to read, in the file's types.
        lists: those of them that hold lists of single values; the others hold single values.
        batch_rows: most rows at a time.
        raw_bytes: whether single values may also be bytes, which the row checks read as UTF-8.

    Raises:
        UserError: the file cannot be read, or a column holds values of another type.
    """
    schema = parquet_schema(path)
    for column in columns:
        kind = schema.field(column).type
        if column in lists:
            fits, expected = _is_list(kind) and _is_single(kind.value_type), "lists of single values"
        else:
            fits, expected = _is_single(kind) or (raw_bytes and _is_bytes(kind)), "single values"
        if not fits:
            raise UserError(f"{path}: column '{column}' holds {kind}, not {expected}.")
    line = 1
    try:
        # Without these, pyarrow holds a whole row group, which may be the whole file.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False):
                rows = pl.DataFrame(pl.from_arrow(batch)).with_columns(cs.array().arr.to_list())
                yield rows.with_columns(pl.Series("line", np.arange(line, line + len(rows)), dtype=pl.Int64))
                line += len(rows)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: row {line} or after: not readable as Parquet: {error}") from error


def _is_list(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_single(kind: pa.DataType) -> bool:
    """Return whether values are of a type that polars can hold and write as text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(is_kind(kind) for is_kind in _SINGLE)


def _is_bytes(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_binary, pa.types.is_large_binary))


_SINGLE = (
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_decimal128,
    pa.types.is_null,
)
