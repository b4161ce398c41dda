"""Any CSV or Parquet file with one listen a row: `source.columns` maps fields to columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsvae.errors import UserError, nearest
from fsvae.logs.formats.csv import columns_of, fields_of, first_lines, read_csv, renamed
from fsvae.logs.formats.parquet import parquet_schema, read_parquet
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig
from fsvae.schema import RAW_EVENTS

_DELIMITERS = {mark: f"'source.delimiter=\"{mark}\"'" for mark in ",|;"} | {"\t": "$'source.delimiter=\"\\t\"'"}
"""Delimiter → how it is set in a shell."""
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
        yield Chunk(renamed(chunk.rows, column_of), chunk.malformed)


def _read_parquet(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    column_of = _columns(path, parquet_schema(path).names, config)
    for rows in read_parquet(path, list(dict.fromkeys(column_of.values())), raw_bytes=True):
        yield Chunk(renamed(rows, column_of))


def _columns(path: Path, header: list[str], config: SourceConfig) -> dict[str, str]:
    """Return the column of each field that the file has."""
    for field in config.columns:
        if field not in RAW_EVENTS.names:
            raise UserError(
                f"source.columns: '{field}' is not a field of a listen; the fields are {', '.join(RAW_EVENTS.names)}."
                f"{nearest(field, RAW_EVENTS.names)}"
            )
    wanted = {field: config.columns.get(field, field) for field in RAW_EVENTS.names}
    try:
        return columns_of(path, header, wanted, required={*_REQUIRED, *config.columns})
    except UserError as error:
        hint = "Say which column is which: 'source.columns={FIELD: COLUMN}'."
        for delimiter, setting in _DELIMITERS.items():
            if len(header) == 1 and delimiter in header[0]:
                hint = f"It was read as one column: set {setting}"
        raise UserError(f"{error} {hint}") from error
