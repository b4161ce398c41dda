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
_INK = "#010203"
"""A colour that no plot has otherwise: in its place the page's text colour is put."""
_DOTS_PER_INCH = 200
"""Of what is drawn as pixels (`rasterized=True`), as thousands of points would make a heavy page."""


@dataclass(frozen=True)
class Plot:
    """A plot and what is to be said of it."""

    title: str
    caption: str
    svg: str
    wide: bool = False
    """As wide as the page."""


def plot(
    title: str, caption: str, draw: Callable[[Any], None], height: float = 3.0, panels: int = 1, wide: bool = False
) -> Plot:
    """Return a plot.

    Args:
        title: its heading.
        caption: what to say of it.
        draw: called with the axes to draw on; with their list where there are several panels, side by side.
        height: of the figure [inch]; it is 6.4 wide.
        panels: how many axes.
        wide: twice as wide as others.
    """
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    # Text stays text: it can be read aloud and copied, and the file is small.
    style = {**ink, "svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "axes.titlesize": 10}
    style["text.parse_math"] = False  # the dollars of a name are dollars
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(12.8 if wide else 6.4, height), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        draw(list(axes) if panels > 1 else axes[0])
        data = io.StringIO()
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None}, dpi=_DOTS_PER_INCH)
    return Plot(title, caption, _inline(data.getvalue()), wide)


def legend(axes: Any) -> None:
    """Put the legend above the plot, where it hides nothing."""
    axes.legend(frameon=False, fontsize=9, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _inline(svg: str) -> str:
    """Return an SVG file as an element of an HTML page: without addresses, and with the page's text colour."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
