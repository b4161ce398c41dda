"""Plots: as SVG that stands in an HTML page and takes its text colour from there, in light and dark, and as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib
from matplotlib.figure import Figure

ACCENT = "#1db954"
GREY = "#8b949e"
"""A colour that shows on light and on dark."""
_WIDTH = 6.4
"""Inches."""
_DOTS_PER_INCH = 200
"""Resolution of what is drawn as pixels in an SVG."""
_SCREEN_DOTS_PER_INCH = 100
_INK = "#010203"
"""A colour that no plot has otherwise: in its place the page's text colour is put."""


@dataclass(frozen=True)
class Plot:
    """A plot and what is to be said of it. It is drawn when its picture is asked for."""

    title: str
    caption: str
    draw: Callable[[Any], None]
    """Draws on the axes that it is given: on a list of them side by side, if there are panels.

    What it draws with `rasterized=True` is pixels in an SVG: thousands of points would make a heavy page.
    """
    height: float = 3.0
    """Inches."""
    panels: int = 0
    """Number of panels of a plot as wide as the page; 0: it is half as wide, and has one."""

    @property
    def wide(self) -> bool:
        """Return whether it is as wide as the page."""
        return self.panels > 0

    @cached_property
    def svg(self) -> str:
        """Return an element of an HTML page."""
        data = io.StringIO()
        # Text stays text: it can be read aloud and copied, and the file is small.
        with matplotlib.rc_context({**_style(_INK), "svg.fonttype": "none", "svg.hashsalt": self.title}):
            self._figure().savefig(data, format="svg", transparent=True, metadata={"Date": None}, dpi=_DOTS_PER_INCH)
        return _inline(data.getvalue())

    def png(self) -> bytes:
        """Return a picture on white, for a notebook."""
        data = io.BytesIO()
        with matplotlib.rc_context(_style("black")):
            self._figure().savefig(data, format="png", metadata={"Software": None}, dpi=_SCREEN_DOTS_PER_INCH)
        return data.getvalue()

    def _figure(self) -> Figure:
        figure = Figure(figsize=((2 if self.wide else 1) * _WIDTH, self.height), layout="constrained")
        axes = figure.subplots(1, max(self.panels, 1), squeeze=False)[0].tolist()
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        self.draw(axes if self.wide else axes[0])
        return figure


def _style(ink: str) -> dict[str, Any]:
    """Return settings of matplotlib: how all plots look."""
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    sizes = {"font.size": 10, "axes.titlesize": 10}
    return {**dict.fromkeys(names, ink), **sizes, "text.parse_math": False}  # the dollars of a name are dollars


def legend_above(axes: Any, markerscale: float = 1.0) -> None:
    """Put the legend above the plot, where it hides nothing, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    widest = 0.5 + 0.075 * max((len(label) for label in labels), default=0)  # inches, about
    columns = max(1, int(_WIDTH / widest))
    look = {"frameon": False, "fontsize": 9, "markerscale": markerscale}
    axes.figure.legend(handles, labels, ncols=columns, loc="outside upper left", **look)


def _inline(svg: str) -> str:
    """Return an SVG file as an element of an HTML page: without addresses, and with the page's text colour."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
