"""What tests of lakes share."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.storage import Folder
from pipelines.lake.lake import Lake


def all_events(lake: Lake, before: str | None = None) -> pl.DataFrame:
    """Return the events of all days, or of those before a day, each day in lake order."""
    days = (lake.read_day(day) for day in lake.days(before))
    return pl.concat(day for day in days if day is not None)


def disk(where: Lake | Folder) -> Path:
    """Return where a lake or another folder lies on this machine's disk."""
    local = (where.root if isinstance(where, Lake) else where).local
    assert local is not None
    return local


def contents(root: Path) -> dict[str, bytes]:
    """Return all files below a folder, but for locks and notes of when a dataset was last used."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith((".lock", ".used")))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
