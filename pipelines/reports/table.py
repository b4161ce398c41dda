"""Figures as a table of texts: the terminal, pages and notebooks show the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Some figures: the first column names them, the others are numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    bars: Sequence[float] = ()
    """Length of the bar behind each row, from 0 to 1; empty: there are none."""
    texts: Collection[int] = ()
    """Columns, other than the first, that are texts, not numbers."""
    best: Collection[tuple[int, int]] = ()
    """(row, column) of the figures that are best in their column."""
