"""Where listening logs come from: each source is one small file that yields chunks of raw rows.

To add a source, write a module with a `read(path, config)` that yields `Chunk`s and name it in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fsvae.errors import UserError, nearest
from pipelines.sources import jodie, table
from pipelines.sources.base import Chunk, SourceConfig

READERS: dict[str, Callable[[Path, SourceConfig], Iterator[Chunk]]] = {"jodie": jodie.read, "table": table.read}


def files_of(config: SourceConfig) -> list[Path]:
    """Return the files under `config.path` in order of name.

    Raises:
        UserError: there is no such file or folder, or the folder holds no file.
    """
    if not config.path:
        raise UserError("source.path: say which log to read, a file or a folder of files.")
    path = Path(config.path)
    if path.is_file():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    )
    if not files:
        raise UserError(
            f"{path}: no listening log there. Give a file or a folder of files, or make one: fsvae simulate."
        )
    return files


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Stream one file with the reader that the source names.

    Raises:
        UserError: the reader is not known, or the file is not what it reads.
    """
    if config.reader not in READERS:
        raise UserError(
            f"source.reader: '{config.reader}' is not one of {sorted(READERS)}.{nearest(config.reader, READERS)}"
        )
    return READERS[config.reader](path, config)
