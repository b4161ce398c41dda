"""Folders on any filesystem that pyarrow knows (a local path, s3://, gs://): the lake's and the datasets' files.

A file appears complete or not at all: locally it is written beside its place and renamed; for an object store it is
written to this machine's temporary folder and uploaded when it is complete. Nothing here relies on renaming a folder,
which object stores cannot do.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import xxhash

from fsvae.errors import UserError


@dataclass(frozen=True)
class Folder:
    """A folder, which need not exist yet. It can be sent to other processes."""

    fs: pafs.FileSystem
    path: str
    """Path within the filesystem."""
    scheme: str = ""
    """Scheme of the URL from which it was opened; empty: a local path."""

    @classmethod
    def at(cls, where: str | Path | Folder) -> Folder:
        """Return the folder at a local path or a URL such as ``s3://bucket/lake?region=eu-north-1``.

        Raises:
            UserError: the URL's filesystem is not known, or its parameters are wrong.
        """
        if isinstance(where, Folder):
            return where
        if "://" not in str(where):
            return cls(pafs.LocalFileSystem(), str(Path(where).absolute()))
        try:
            fs, path = pafs.FileSystem.from_uri(str(where))
        except (pa.ArrowException, ValueError, OSError) as error:
            raise UserError(f"{_without_secrets(str(where))}: not a path that can be opened: {error}") from error
        return cls(fs, path, urlsplit(str(where)).scheme)

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.fs, f"{self.path}/{name}", self.scheme)

    def __str__(self) -> str:
        if not self.scheme:
            path = Path(self.path)
            return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else self.path
        return f"{self.scheme}://{self.path}"

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def local(self) -> Path | None:
        """Return the path on this machine's disk, or None for an object store."""
        return Path(self.path) if isinstance(self.fs, pafs.LocalFileSystem) else None

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return bool(self.fs.get_file_info(f"{self.path}/{name}").type == pafs.FileType.File)

    def files(self) -> list[str]:
        """Return the names of the files in this folder and below it, in order."""
        infos = self.fs.get_file_info(pafs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return sorted(info.path.removeprefix(f"{self.path}/") for info in infos if info.type == pafs.FileType.File)

    def folders(self) -> list[str]:
        """Return the names of the folders directly in this one, in order."""
        infos = self.fs.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)

    def age(self, name: str) -> float:
        """Return when a file was last written [s since 1970]."""
        return float(self.fs.get_file_info(f"{self.path}/{name}").mtime_ns) / 1e9

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for random access.

        Raises:
            FileNotFoundError: there is none.
        """
        local = self.local
        return pa.memory_map(f"{self.path}/{name}") if local else self.fs.open_input_file(f"{self.path}/{name}")

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.fs.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return bytes(stream.read())

    def read_json(self, name: str) -> Any:
        """Return the value of a JSON file."""
        return json.loads(self.read(name))

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file, which appears when the context ends normally; after an exception nothing has changed."""
        target = f"{self.path}/{name}"
        local = self.local
        if local is None:
            # Not an output stream of the store: when that is released it is closed, which publishes a partial file.
            # The copy is a single call that no exception of this process interrupts.
            with tempfile.NamedTemporaryFile(prefix="fsvae-") as spool:
                yield spool.file
                spool.flush()
                pafs.copy_files(spool.name, target, pafs.LocalFileSystem(), self.fs)
            return
        final = Path(target)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step."""
        with self.writing(name) as file:
            file.write(data)

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON in one step; keys are sorted so that equal values are equal files."""
        self.write(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with suppress(FileNotFoundError):
            self.fs.delete_file(f"{self.path}/{name}")

    def delete_all(self) -> None:
        """Delete the folder and its contents, if it exists."""
        try:
            self.fs.delete_dir(self.path)
        except (FileNotFoundError, OSError):
            for name in self.files():  # another process wrote or deleted there meanwhile, or the store has no folders
                self.delete(name)

    def checksum(self, name: str) -> str:
        """Return the xxh3-128 checksum of a file's bytes."""
        with self.fs.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return stream_checksum(stream)


def read_frame(file: pa.NativeFile, columns: list[str] | None = None) -> pl.DataFrame:
    """Return the frame of a Parquet file opened by `Folder.open`, or some columns of it."""
    return pl.DataFrame(pl.from_arrow(pq.read_table(file, columns=columns)))


def stream_checksum(stream: IO[bytes] | pa.NativeFile) -> str:
    """Return the xxh3-128 checksum of the rest of a stream."""
    digest = xxhash.xxh3_128()
    while block := stream.read(1 << 22):
        digest.update(block)
    return digest.hexdigest()


def _without_secrets(url: str) -> str:
    """Return a URL without user, password and parameters, which can hold keys of object stores."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
