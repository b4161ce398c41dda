"""Streaming CSV: undecoded fields with their line numbers; rows with the wrong number of fields come apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from fsvae.errors import UserError
from pipelines.sources.base import Chunk

_BLOCK_BYTES = 8 << 20


def first_lines(path: Path, count: int) -> list[str]:
    """Return the first lines of a plain or compressed text file."""
    with pa.input_stream(str(path), compression="detect") as stream:
        head: bytes = stream.read(1 << 20)
    return head.decode("utf-8", errors="replace").splitlines()[:count]


def read_csv(path: Path, delimiter: str, header: list[str], keep: list[str]) -> Iterator[Chunk]:
    """Stream the rows after the first line of a file, whose fields are named by `header`, keeping some columns.

    Raises:
        UserError: the file is not text that splits into fields.
    """
    malformed: list[tuple[int, str]] = []

    def on_malformed(row: pa_csv.InvalidRow) -> str:
        malformed.append((row.number, row.text))
        return "skip"

    next_line = 2
    try:
        with (
            pa.input_stream(str(path), compression="detect") as stream,
            pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK_BYTES, skip_rows=1, column_names=header
                ),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=on_malformed),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=keep,
                    column_types=dict.fromkeys(keep, pa.binary()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ) as reader,
        ):
            for batch in reader:
                skipped = np.array([line for line, _ in malformed if line >= next_line], dtype=np.int64)
                lines = np.arange(next_line, next_line + batch.num_rows + len(skipped))
                lines = lines[~np.isin(lines, skipped)][: batch.num_rows]
                if len(lines):
                    next_line = int(lines[-1]) + 1
                rows = pl.DataFrame(pl.from_arrow(batch)).with_columns(pl.Series("line", lines, dtype=pl.Int64))
                done = [bad for bad in malformed if bad[0] < next_line]
                malformed[:] = [bad for bad in malformed if bad[0] >= next_line]
                yield Chunk(rows, done)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: line {next_line} or after: not readable as CSV: {error}") from error
    if malformed:
        yield Chunk(pl.DataFrame(schema={"line": pl.Int64}), malformed)
