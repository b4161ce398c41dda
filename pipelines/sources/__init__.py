"""Where listening logs come from: each source is one small file that yields chunks of raw rows.

To add a source, write a module here with a `read(path, config)` that yields `Chunk`s and a docstring that begins with
what it reads; its name is the source's. If folders of such logs hold other files, too, the module says which names
(patterns, as `*.json`) are logs in `FILES`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

from fsvae.errors import UserError, nearest
from pipelines.sources.base import Chunk, SourceConfig

_MODULES: dict[str, ModuleType] = {
    name: module
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__))
    if hasattr(module := importlib.import_module(f"{__name__}.{name}"), "read")
}
READERS: dict[str, Callable[[Path, SourceConfig], Iterator[Chunk]]] = {
    name: module.read for name, module in _MODULES.items()
}
"""The modules of this folder that have a `read`, by name."""


def files_of(config: SourceConfig) -> list[Path]:
    """Return the files under `config.path` in order of name; of a folder, those that the source takes for logs.

    Raises:
        UserError: there is no such file or folder, the folder holds no log, or the reader is not known.
    """
    if not config.path:
        raise UserError("source.path: say which log to read, a file or a folder of files.")
    path = Path(config.path)
    if path.is_file():
        return [path]
    patterns: tuple[str, ...] = getattr(_module(config.reader), "FILES", ("*",))
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        and any(fnmatch(file.name, pattern) for pattern in patterns)
    )
    if not files:
        named = "" if patterns == ("*",) else f" ({' or '.join(patterns)})"
        raise UserError(
            f"{path}: no listening log there{named}. Give a file or a folder of files, or make one: fsvae simulate."
        )
    return files


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Stream one file with the reader that the source names.

    Raises:
        UserError: the reader is not known, or the file is not what it reads.
    """
    _module(config.reader)
    return READERS[config.reader](path, config)


def _module(reader: str) -> ModuleType:
    if reader not in _MODULES:
        raise UserError(f"source.reader: '{reader}' is not one of {sorted(READERS)}.{nearest(reader, READERS)}")
    return _MODULES[reader]
