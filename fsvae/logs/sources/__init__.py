"""Sources of listening logs: each is one small file that yields chunks of raw rows.

To add a source, write a module here with a `read(path, config)` that yields `Chunk`s and a docstring that begins with
the format it reads; its name is the source's. If folders of such logs hold other files too, the module lists the
patterns of names that are logs (such as `*.json`) in `FILES`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath
from types import ModuleType

from fsvae.errors import UserError, nearest
from fsvae.logs.formats.streams import check_text, members_of
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

_MODULES: dict[str, ModuleType] = {
    name: module
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__))
    if hasattr(module := importlib.import_module(f"{__name__}.{name}"), "read")
}
READERS: dict[str, Callable[[Path, SourceConfig], Iterator[Chunk]]] = {
    name: module.read for name, module in _MODULES.items()
}
"""Name of a source → its `read`, for the modules of this folder that have one."""


def files_of(config: SourceConfig) -> list[Path]:
    """Return the files under `config.path` in order of name; of a folder, those that match the source's `FILES`.

    Raises:
        UserError: there is no such file or folder, the folder holds no log, or the reader is not known.
    """
    if not config.path:
        raise UserError("source.path: say which log to read, a file or a folder of files.")
    path = Path(config.path)
    if path.is_file():
        return [path]
    patterns = _patterns(config.reader)
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and _is_log(file.relative_to(path), (*patterns, "*.zip"))
        and (file.suffix != ".zip" or _logs_in(file, patterns))
    )
    if not files:
        raise UserError(
            f"{path}: no listening log there{_named(patterns)}. Give a file or a folder of files, or make one: "
            "fsvae simulate."
        )
    return files


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Stream one file with the source's reader; of a ZIP, the members that match the source's `FILES`.

    Raises:
        UserError: the reader is not known, or the file is empty or of another format.
    """
    _module(config.reader)
    if path.is_file() and not path.stat().st_size:
        check_text(b"", str(path))
    return _read_zip(path, config) if path.suffix == ".zip" else READERS[config.reader](path, config)


def _read_zip(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    patterns = _patterns(config.reader)
    members = _logs_in(path, patterns)
    if not members:
        raise UserError(f"{path}: the archive holds no listening log{_named(patterns)}.")
    for member in members:
        if member.suffix == ".parquet":
            raise UserError(f"{path / member}: Parquet cannot be streamed out of a ZIP; unzip it and read the folder.")
        for chunk in READERS[config.reader](path / member, config):
            yield replace(chunk, member=str(member / chunk.member))


def _logs_in(archive: Path, patterns: tuple[str, ...]) -> list[PurePosixPath]:
    return [member for member in members_of(archive) if _is_log(member, patterns)]


def _is_log(file: PurePath, patterns: tuple[str, ...]) -> bool:
    """Return whether a file, by its path within a folder or an archive, is a log: never a hidden or outside one."""
    hidden = any(part.startswith((".", "_", "/")) for part in file.parts)
    return not hidden and any(fnmatch(file.name, pattern) for pattern in patterns)


def _patterns(reader: str) -> tuple[str, ...]:
    patterns: tuple[str, ...] = getattr(_module(reader), "FILES", ("*",))
    return patterns


def _named(patterns: tuple[str, ...]) -> str:
    return "" if patterns == ("*",) else f" ({' or '.join(patterns)})"


def _module(reader: str) -> ModuleType:
    if reader not in _MODULES:
        raise UserError(f"source.reader: '{reader}' is not one of {sorted(READERS)}.{nearest(reader, READERS)}")
    return _MODULES[reader]
