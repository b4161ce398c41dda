"""Settings of a listening log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fsvae.kinds import KINDS
from fsvae.limits import OneOf, Share

SOURCES = tuple(
    sorted(path.stem for path in (Path(__file__).parent / "sources").glob("*.py") if path.stem != "__init__")
)
"""Names of the sources: the files of `fsvae.logs.sources`."""


@dataclass
class SourceConfig:
    """Place and format of a listening log."""

    reader: Annotated[str, OneOf(SOURCES)] = "table"
    """Reader: the name of a file in fsvae/logs/sources."""
    path: str = ""
    """File, or folder whose files are all read."""
    columns: dict[str, str] = field(default_factory=dict)
    """Columns of the log for fields that are not named as in `fsvae.schema.RAW_EVENTS`, as field: column."""
    kinds: dict[str, Annotated[str, OneOf(KINDS)]] = field(default_factory=dict)
    """Kinds (of `fsvae.kinds.KINDS`) for the words of the log, as word: kind; for a number, source.kinds.1=like."""
    delimiter: str = ","
    """Character between the fields of CSV files."""
    time_unit: Annotated[str, OneOf(("iso", "s", "ms", "us"))] = "iso"
    """Format of played_at: iso (2026-01-31T12:00:00Z), or a number since `origin` in s, ms or us."""
    origin: str = "1970-01-01"
    """UTC day from which numeric and invented times count."""
    user_id: str = ""
    """User of the log, where the log does not name one (a Spotify history)."""
    max_reject_share: Share = 0.05
    """Largest share of rejected rows; above it the run fails, and takes nothing."""
