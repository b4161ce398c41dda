"""A plot is drawn for a page or for a notebook, when it is asked for."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from pipelines.reports.plot import Plot


def test_a_plot_is_drawn_when_it_is_asked_for_and_once_for_a_page() -> None:
    drawn: list[Any] = []
    plot = Plot("A line", "Of two points.", lambda axes: drawn.append(axes.plot([0, 1], [1, 0])))
    assert not drawn and not plot.wide
    assert plot.svg.startswith("<svg") and "currentColor" in plot.svg
    assert plot.svg is plot.svg and len(drawn) == 1


def test_a_picture_is_on_white_and_has_the_plots_size() -> None:
    """100 dots an inch: 6.4 inches wide, 12.8 with panels."""
    one = Plot("One", "", lambda axes: axes.set_title("$5 and $6"))
    two = Plot("Two", "", lambda panels: panels[1].plot([0, 1], [1, 0]), height=2.0, panels=2)
    pictures = [Image.open(io.BytesIO(plot.png())).convert("RGBA") for plot in (one, two)]
    assert [picture.size for picture in pictures] == [(640, 300), (1280, 200)] and two.wide
    assert pictures[0].getpixel((0, 0)) == (255, 255, 255, 255)
