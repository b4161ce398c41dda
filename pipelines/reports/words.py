"""Numbers and tracks in texts and tables."""

from __future__ import annotations

import math

import polars as pl

NONE = "-"
"""What stands where there is no number."""
TRACK_LABEL = pl.coalesce(pl.concat_str("title", "artist_name", separator=" · "), "title", "track_id")
"""What to call a row of `schema.TRACKS`: its title and artist, or its id where the title is not known."""


def count(number: int, one: str) -> str:
    """Return a number and what it counts: ``1 row``, ``1,200 rows``."""
    return f"{number:,} {one if number == 1 else one + 's'}"


def percent(share: float | None) -> str:
    """Return a share as per cent with one decimal, or two where it is close to 0 or 100 %."""
    if share is None:
        return NONE
    if 0 < share < 0.0001:
        return "< 0.01 %"
    if 0.9999 < share < 1:
        return "> 99.99 %"
    return f"{100 * share:.2f} %" if 0 < share < 0.01 or 0.99 < share < 1 else f"{100 * share:.1f} %"


def decimal(value: float | None) -> str:
    """Return a number with one decimal, or without it where it is 0."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.1f}".removesuffix(".0")
