"""Streaming CSV: undecoded fields with their line numbers; rows with the wrong number of fields come separately."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from fsvae.errors import UserError, nearest
from fsvae.logs.formats.streams import READ_ERRORS, check_text, is_utf8, open_bytes
from fsvae.logs.source import Chunk, Malformed

_BLOCK_BYTES = 8 << 20


def first_lines(path: Path, count: int) -> list[str]:
    """Return the first lines of a plain or compressed text file, without a byte order mark.

    Raises:
        UserError: the file cannot be read or decompressed, or is empty or binary.
    """
    try:
        with open_bytes(path) as stream:
            head = stream.read(1 << 20)
    except READ_ERRORS as error:
        raise UserError(f"{path}: line 1: not readable: {error}") from error
    check_text(head, str(path))
    lines = re.split(r"\r\n|\n|\r", head.decode("utf-8-sig", errors="replace"))
    return (lines if lines[-1] else lines[:-1])[:count]


def fields_of(line: str, delimiter: str, where: str = "") -> list[str]:
    """Return the fields of a line of CSV, without surrounding blanks; `where` begins an error message.

    Raises:
        UserError: the delimiter is not one plain character.
    """
    if len(delimiter.encode()) != 1 or delimiter in '\r\n"':
        raise UserError(
            f"source.delimiter: {delimiter!r} is not one plain character such as ',' or ';' "
            "(a tab in a shell: $'source.delimiter=\"\\t\"')."
        )
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise UserError(
            f"{where}not readable as CSV: a line of {len(line)} characters beginning {line[:40]!r}: {error}"
        ) from error


def columns_of(path: Path, header: list[str], wanted: dict[str, str], required: Collection[str]) -> dict[str, str]:
    """Return the column of each field that a file has.

    Args:
        path: the file.
        header: the columns of the file.
        wanted: field → column.
        required: the fields that must be there.

    Raises:
        UserError: the column of a required field is missing, or there are two of a name.
    """
    for field, column in wanted.items():
        if column not in header and field in required:
            names = [name for name in header if len(name) <= 100 and name.isprintable()]
            has = ", ".join(names[:50]) or "none that can be read"
            raise UserError(
                f"{path}: line 1: no column '{column}' for the field {field}; it has {has}.{nearest(column, names)}"
            )
        if header.count(column) > 1:
            raise UserError(f"{path}: line 1: {header.count(column)} columns are named '{column}'. Rename one of them.")
    return {field: column for field, column in wanted.items() if column in header}


def renamed(rows: pl.DataFrame, column_of: dict[str, str]) -> pl.DataFrame:
    """Return the rows with fields in place of columns, and `line`."""
    present = {field: column for field, column in column_of.items() if column in rows.columns}
    return rows.select("line", *(pl.col(column).alias(field) for field, column in present.items()))


class _Lines(io.RawIOBase):
    """A text file on its way to the CSV parser, which skips empty lines and fails on malformed rows that are not UTF-8.

    It records the empty lines, so that rows keep their line numbers, and writes bytes of a malformed row that are not
    UTF-8 as \\xNN, so that the row can be kept as a reject.
    """

    def __init__(self, stream: BinaryIO, n_fields: int, delimiter: str, quotes: bool) -> None:
        self._stream = stream
        self._n_fields = n_fields
        self._delimiter = delimiter
        self._quotes = quotes
        self._rest = b""
        self._ready = b""
        self._ended = False
        self._lines = 0
        self._empty: list[int] = []

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            self._fill()
        size = len(self._ready) if size < 0 else size
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    def line_of(self, row: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the line of each row of the parser, which does not count empty lines."""
        empty = np.array(self._empty, dtype=np.int64)
        return row + np.searchsorted(empty - np.arange(len(empty)), row, side="right")

    def _fill(self) -> None:
        block = self._stream.read(_BLOCK_BYTES)
        self._ended = not block
        data = self._rest + block
        cut = len(data) if self._ended else data.rfind(b"\n") + 1 or len(data)
        data, self._rest = data[:cut], data[cut:]
        if data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data:
            for number, line in enumerate(data.split(b"\n")[:-1], self._lines + 1):
                if line in (b"", b"\r"):
                    self._empty.append(number)
        self._lines += data.count(b"\n")
        self._ready += data if is_utf8(data) else b"".join(map(self._readable_row, re.split(rb"([\r\n]+)", data)))

    def _readable_row(self, line: bytes) -> bytes:
        if is_utf8(line):
            return line
        text = line.decode(errors="backslashreplace")
        try:
            fields = fields_of(text, self._delimiter) if self._quotes else text.split(self._delimiter)
            whole = len(fields) == self._n_fields
        except UserError:
            whole = False
        return line if whole else text.encode()


def read_csv(
    path: Path, delimiter: str, header: list[str], keep: list[str], first_line: int = 2, quotes: bool = True
) -> Iterator[Chunk]:
    """Stream some columns of the rows of a file whose fields are named by `header`.

    Args:
        path: a plain or compressed text file.
        delimiter: the character between fields.
        header: the names of all fields.
        keep: the names of those to keep.
        first_line: line of the first row, from 1.
        quotes: whether a field may be quoted; if not, quotation marks are like any other character.

    Raises:
        UserError: the file is not text that splits into fields.
    """
    malformed: list[tuple[int, str]] = []

    def on_malformed(row: pa_csv.InvalidRow) -> str:
        malformed.append((row.number, row.text))
        return "skip"

    next_row = first_line
    try:
        with (
            open_bytes(path) as stream,
            pa_csv.open_csv(
                lines := _Lines(stream, len(header), delimiter, quotes),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK_BYTES, skip_rows=first_line - 1, column_names=header
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter, quote_char='"' if quotes else False, invalid_row_handler=on_malformed
                ),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=keep,
                    column_types=dict.fromkeys(keep, pa.binary()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ) as reader,
        ):
            for batch in reader:
                skipped = np.array([row for row, _ in malformed if row >= next_row], dtype=np.int64)
                taken = np.arange(next_row, next_row + batch.num_rows + len(skipped))
                taken = taken[~np.isin(taken, skipped)][: batch.num_rows]
                if len(taken):
                    next_row = int(taken[-1]) + 1
                rows = pl.DataFrame(pl.from_arrow(batch)).with_columns(
                    pl.Series("line", lines.line_of(taken), dtype=pl.Int64)
                )
                done = [bad for bad in malformed if bad[0] < next_row]
                malformed[:] = [bad for bad in malformed if bad[0] >= next_row]
                yield Chunk(rows, _at_lines(done, lines))
    except READ_ERRORS as error:
        raise UserError(f"{path}: line {next_row} or after: not readable as CSV: {error}") from error
    if malformed:
        yield Chunk(pl.DataFrame(schema={"line": pl.Int64}), _at_lines(malformed, lines))


def _at_lines(malformed: list[tuple[int, str]], lines: _Lines) -> list[Malformed]:
    numbers = lines.line_of(np.array([row for row, _ in malformed], dtype=np.int64)).tolist()
    return [Malformed(number, text) for number, (_, text) in zip(numbers, malformed, strict=True)]
