"""Numbers in sentences and tables."""

from __future__ import annotations

import math

NONE = "-"
"""Text in place of a missing number."""


def count(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun: ``1 row``, ``1,200 rows``; `more` is the plural if it is not `one` + s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


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
