"""HTML pages that need nothing else: no request, no script."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


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


def page(template: str, title: str, **what: Any) -> str:
    """Return a page of one of the templates, which all extend page.html; `made` is the time of its making."""
    environment = Environment(
        loader=PackageLoader("pipelines.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(title=title, made=made, **what)
