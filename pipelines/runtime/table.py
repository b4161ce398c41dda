"""Figures as a table of texts, the same in the terminal, pages and notebooks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of figures: the first column holds names, the others numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    bars: Sequence[float] = ()
    """Length from 0 to 1 of the bar behind each row; empty: no bars."""
    texts: Collection[int] = ()
    """Indices of further columns that are texts, not numbers."""
    best: Collection[tuple[int, int]] = ()
    """(row, column) of the best figures of their columns."""
