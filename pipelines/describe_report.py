"""Descriptions as one HTML page that needs nothing else: no request, no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.describe_plots import plots
from pipelines.describe_tables import headline, tables
from pipelines.description import Description


def html(descriptions: Sequence[Description]) -> str:
    """Return the page."""
    loader = PackageLoader("pipelines", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages = [
        {"what": what, "headline": headline(what), "plots": plots(what), "tables": tables(what)}
        for what in descriptions
    ]
    title = f"What is in the {' and the '.join(what.what for what in descriptions)}"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template("describe.html").render(title=title, made=made, pages=pages)
