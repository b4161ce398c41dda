"""HTML pages that need nothing else: no request, no script."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


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
