"""Plots as SVG that stands in an HTML page and takes its text colour from there, in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

ACCENT = "#1db954"
GREY = "#8b949e"
"""Between light and dark: it shows on both."""
_WIDTH = 6.4
"""Inches."""
_DOTS_PER_INCH = 200
"""Of what is drawn as pixels."""
_INK = "#010203"
"""A colour that no plot has otherwise: in its place the page's text colour is put."""


@dataclass(frozen=True)
class Plot:
    """A plot and what is to be said of it."""

    title: str
    caption: str
    svg: str
    wide: bool = False
    """As wide as the page."""


def plot(title: str, caption: str, draw: Callable[[Any], None], height: float = 3.0, panels: int = 0) -> Plot:
    """Return what `draw` draws on the axes that it is given: on a list of them side by side, of a wide plot of panels.

    What it draws with `rasterized=True` becomes pixels: thousands of points would make a heavy page.
    """
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    # Text stays text: it can be read aloud and copied, and the file is small.
    style = {**ink, "svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "axes.titlesize": 10}
    style["text.parse_math"] = False  # the dollars of a name are dollars
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(2 * _WIDTH if panels else _WIDTH, height), layout="constrained")
        axes = figure.subplots(1, max(panels, 1), squeeze=False)[0].tolist()
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        draw(axes if panels else axes[0])
        data = io.StringIO()
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None}, dpi=_DOTS_PER_INCH)
    return Plot(title, caption, _inline(data.getvalue()), wide=panels > 0)


def legend_above(axes: Any) -> None:
    """Put the legend above the plot, where it hides nothing, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    widest = 0.5 + 0.075 * max((len(label) for label in labels), default=0)  # inches, about
    columns = max(1, int(_WIDTH / widest))
    axes.figure.legend(handles, labels, frameon=False, fontsize=9, ncols=columns, loc="outside upper left")


def _inline(svg: str) -> str:
    """Return an SVG file as an element of an HTML page: without addresses, and with the page's text colour."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
