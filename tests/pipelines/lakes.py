"""What tests of lakes share."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.storage import Folder
from pipelines.lake import Lake


def all_events(lake: Lake, before: str | None = None) -> pl.DataFrame:
    """Return the events of all days, or of those before a day, each day in lake order."""
    days = (lake.read_day(day) for day in lake.days(before))
    return pl.concat(day for day in days if day is not None)


def disk(where: Lake | Folder) -> Path:
    """Return where a lake or another folder lies on this machine's disk."""
    local = (where.root if isinstance(where, Lake) else where).local
    assert local is not None
    return local
