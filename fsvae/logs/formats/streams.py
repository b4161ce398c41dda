"""Opening a file for sequential reading, plain, compressed or in an archive."""

from __future__ import annotations

import codecs
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

import pyarrow as pa

from fsvae.errors import UserError

READ_ERRORS = (pa.ArrowException, OSError, EOFError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""Errors that reading a damaged or a missing file can raise."""

_ZIP_ERRORS = (RuntimeError, ValueError)
"""Further errors of zipfile, for files that are encrypted, of an unknown compression or damaged."""

_CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")
_HEAD_BYTES = 8 << 10


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file, or by its ending a compressed one: .gz, .zst, .bz2, .lz4, .xz.

    A path may lead into a ZIP, as ``my_spotify_data.zip/folder/history.json``.

    Raises:
        READ_ERRORS: the file is missing or damaged; raised here or on reading.
    """
    archive = next((parent for parent in path.parents if parent.suffix == ".zip" and parent.is_file()), None)
    with ExitStack() as stack:
        source = str(path) if archive is None else stack.enter_context(_open_member(archive, path))
        if path.suffix == ".xz":  # pyarrow does not read it
            stream = stack.enter_context(lzma.open(source))
        else:
            codec = "detect" if archive is None else _CODECS.get(path.suffix)
            stream = stack.enter_context(pa.input_stream(source, compression=codec))
        yield cast(BinaryIO, stream)


def members_of(archive: Path) -> list[PurePosixPath]:
    """Return the files in a ZIP, in order of name.

    Raises:
        UserError: the file is not a ZIP, or damaged.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            return sorted(_names(file))
    except (*READ_ERRORS, *_ZIP_ERRORS) as error:
        raise UserError(f"{archive}: not a ZIP archive that can be read: {error}") from error


def _names(file: zipfile.ZipFile) -> dict[PurePosixPath, str]:
    return {PurePosixPath(name): name for name in file.namelist() if not name.endswith("/")}


def _open_member(archive: Path, path: Path) -> IO[bytes]:
    try:
        with zipfile.ZipFile(archive) as file:
            return file.open(_names(file)[PurePosixPath(path.relative_to(archive))])
    except _ZIP_ERRORS as error:
        raise zipfile.BadZipFile(str(error)) from error


def check_text(head: bytes, where: str) -> None:
    """Refuse a file whose beginning is not text; `where` begins the message.

    A broken row among good ones is left to the row checks; a file is refused with one control character in twenty where
    it is not UTF-8, or with one NUL in ten.

    Raises:
        UserError: the file is empty or binary.
    """
    if not head:
        raise UserError(f"{where}: the file is empty.")
    head = head[:_HEAD_BYTES]
    controls = sum(head.count(control) for control in _CONTROLS)
    if head.count(0) * 10 > len(head) or (controls * 20 > len(head) and not is_utf8(head, cut=True)):
        raise UserError(
            f"{where}: a binary file, or text in UTF-16, where text in UTF-8 was expected; files of other kinds "
            "are known by their endings (.gz, .zst, .bz2, .lz4, .xz, .zip, .parquet)."
        )


def is_utf8(data: bytes, cut: bool = False) -> bool:
    """Return whether bytes are UTF-8; if the text is `cut`, they may end within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True
