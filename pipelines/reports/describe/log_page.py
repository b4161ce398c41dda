"""Descriptions as one self-contained HTML page, without requests or scripts."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.reports.describe.description import Description
from pipelines.reports.describe.log_plots import plots
from pipelines.reports.describe.log_tables import headline, tables
from pipelines.reports.page import page


def html(descriptions: Sequence[Description]) -> str:
    """Return the page."""
    pages = [
        {"what": what, "headline": headline(what), "plots": plots(what), "tables": tables(what)}
        for what in descriptions
    ]
    title = f"What is in the {' and the '.join(what.what for what in descriptions)}"
    return page("describe.html", title, pages=pages)
