"""Writing Parquet, and checksums of files and values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from fsvae.storage import stream_checksum


def write_parquet(file: IO[bytes] | pa.NativeFile, pieces: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables of exactly the given schema as the row groups of a Parquet file."""
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as writer:
        for piece in pieces:
            writer.write_table(piece)


def in_schema(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a frame's columns as an Arrow table of exactly the given schema."""
    return frame.select(schema.names).to_arrow().cast(schema)


def checksum(path: Path) -> str:
    """Return the xxh3-128 checksum of a file's bytes."""
    with path.open("rb") as file:
        return stream_checksum(file)


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that name a JSON value."""
    return xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True, default=str).encode())
