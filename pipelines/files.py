"""Writing files so that a reader never sees half of one, and naming what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import xxhash
from filelock import FileLock, Timeout

from fsvae.errors import UserError


@contextmanager
def held(lock: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, whose folder is made if it is missing, while the context is open.

    Raises:
        UserError: another process holds it; the message is `busy`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        if error.lock_file != str(lock):
            raise  # of a lock that was taken inside the context
        raise UserError(busy) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON in place of `path` in one step; keys are sorted so that equal values are equal files."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_parquet(path: Path, frame: pl.DataFrame, schema: Any) -> None:
    """Write a frame as Parquet with exactly the given pyarrow schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = frame.select(schema.names).to_arrow().cast(schema)
    pq.write_table(table, path, compression="zstd")


def checksum(path: Path) -> str:
    """Return the xxh3-128 checksum of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that name a JSON value."""
    return xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True, default=str).encode())
