"""Opening a file for reading from its beginning to its end, whatever it is compressed with."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

READ_ERRORS = (pa.ArrowException, OSError, EOFError, lzma.LZMAError, tarfile.TarError, zlib.error)
"""What reading a damaged or a missing file can raise."""


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file, or by its ending a compressed one: .gz, .zst, .bz2, .lz4, .xz.

    Raises:
        READ_ERRORS: here, or when it is read: it is missing or damaged.
    """
    if path.suffix == ".xz":  # pyarrow does not read it
        with lzma.open(path) as stream:
            yield cast(BinaryIO, stream)
    else:
        with pa.input_stream(str(path), compression="detect") as stream:
            yield cast(BinaryIO, stream)
