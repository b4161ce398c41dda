"""Numbers in sentences."""

from __future__ import annotations


def count(number: int, one: str, more: str = "") -> str:
    """Return a number and what it counts: ``1 row``, ``1,200 rows``; `more` where the plural is not one + s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
