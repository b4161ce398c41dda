"""Plots: as SVG within an HTML page, in its text colour, light or dark, and as PNG."""

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
"""Grey that is visible on light and on dark."""
_WIDTH = 6.4
"""Width of a plot [inches]."""
_DOTS_PER_INCH = 200
"""Resolution of the parts drawn as pixels in an SVG."""
_SCREEN_DOTS_PER_INCH = 100
_INK = "#010203"
"""Colour that no plot uses otherwise; the page's text colour replaces it."""


@dataclass(frozen=True)
class Plot:
    """A plot and its text. It is drawn when its picture is requested."""

    title: str
    caption: str
    draw: Callable[[Any], None]
    """Function that draws on the given axes, or on a list of axes side by side if there are panels.

    Parts drawn with `rasterized=True` are pixels in an SVG, as thousands of points would make a large page.
    """
    height: float = 3.0
    """Height of the plot [inches]."""
    panels: int = 0
    """Number of panels of a plot as wide as the page; 0: a single one, half as wide."""

    @property
    def wide(self) -> bool:
        """Return whether it is as wide as the page."""
        return self.panels > 0

    @cached_property
    def svg(self) -> str:
        """Return an element of an HTML page."""
        data = io.StringIO()
        # Text is kept as text, so that it can be read aloud and copied, and the file is small.
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
    """Return matplotlib's settings for all plots."""
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    sizes = {"font.size": 10, "axes.titlesize": 10}
    return {**dict.fromkeys(names, ink), **sizes, "text.parse_math": False}  # dollar signs in names are not formulas


def legend_above(axes: Any, markerscale: float = 1.0) -> None:
    """Put the legend above the plot, where it hides nothing, in as many columns as fit."""
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
