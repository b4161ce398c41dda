"""A description as plots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from fsvae.schema import KINDS
from pipelines.reports.describe.description import Description
from pipelines.reports.describe.statistics import zipf_exponent
from pipelines.reports.plot import ACCENT, GREY, Plot, legend_above

_KIND_COLOURS = dict(zip(KINDS, (ACCENT, GREY, "#0e6e8c", "#d08c2f", "#7fc8a9", "#b5484b", "#c9a6d6"), strict=True))
_SESSION_EDGES = (1, 2, 3, 5, 9, 17, 33, 65)
_POSITION_EDGES = (0, 10, 20, 50, 100, 200, 500, 1000)
_MIN_LISTENS = 30
"""Least number of listens for a share to be drawn."""


def plots(what: Description) -> list[Plot]:
    """Return the plots for which the description has figures."""
    found = []
    if what.events:
        shaded = " Shaded: days without any event." if what.gaps else ""
        found.append(_plot("Events per day", f"Kinds are stacked.{shaded}", _events, what))
    if what.listens:
        found += [
            _plot("Users per day", "Users with at least one listen on the day.", _users, what),
            _plot("Popularity curve", "Both axes are logarithmic.", _popularity, what),
            _plot("Listens per user", "Users by their listens in all; the axis is logarithmic.", _per_user, what),
            _plot("Sessions", "A session ends with 30 minutes without a new listen.", _sessions, what),
            _plot("Repeats", "A repeat is a listen to a track that the same user heard before.", _repeats, what),
        ]
    if what.drift:
        tracks = f"The {what.drift.shares.shape[1]} tracks heard most in both; on the edge: not heard in one of them."
        found.append(_plot("Hours of day, and their drift", "When listens begin.", _hours, what))
        found.append(_plot("Tracks, and their drift", tracks, _track_drift, what))
    return found


def _plot(title: str, caption: str, draw: Callable[[Any, Description], None], what: Description) -> Plot:
    return Plot(title, caption, lambda axes: draw(axes, what))


def _calendar(what: Description, column: pl.Series) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the edges of all days from the first to the last, [D + 1], and a column over them with 0 in gaps, [D]."""
    days = what.days["day"].to_numpy()
    edges = np.arange(days[0], days[-1] + 2)
    values = np.zeros(len(edges) - 1, dtype=np.int64)
    values[(days - days[0]).astype(np.int64)] = column.to_numpy()
    return edges, values


def _date_axis(axes: Any, what: Description) -> None:
    days = what.days["day"]
    if len(days) == 1:  # an axis of one day would show hours
        axes.set_xticks([days[0] + timedelta(hours=12)], [str(days[0])])
    else:
        locator = AutoDateLocator(minticks=2, maxticks=8, interval_multiples=True)
        locator.intervald[4] = [24]  # no hours
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlim(days[0], days[-1] + timedelta(days=1))
    axes.set_ylim(bottom=0)
    _count_axis(axes.yaxis)
    axes.set_xlabel("day (UTC)")


def _count_axis(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _log_axis(axis: Any, reach: float, label: Callable[[float], str]) -> None:
    """Make an axis logarithmic; `reach` is the ratio of the highest and the lowest value."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if reach < 100 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())


def _events(axes: Any, what: Description) -> None:
    below: NDArray[np.int64] | None = None
    for kind in KINDS:
        edges, values = _calendar(what, what.days[kind])
        below = np.zeros_like(values) if below is None else below
        if values.any():
            axes.stairs(below + values, edges, baseline=below, fill=True, color=_KIND_COLOURS[kind], label=kind)
            below = below + values
    for first, last in what.gaps:
        axes.axvspan(first, last + timedelta(days=1), color=GREY, alpha=0.3, linewidth=0)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        legend_above(axes)
    _date_axis(axes, what)
    axes.set_ylabel("events a day")


def _users(axes: Any, what: Description) -> None:
    edges, values = _calendar(what, what.days["users"])
    axes.stairs(values, edges, fill=True, color=ACCENT)
    _date_axis(axes, what)
    axes.set_ylabel("users a day")


def _popularity(axes: Any, what: Description) -> None:
    counts = what.listens_T
    # A few hundred ranks draw the same curve as millions.
    rank = np.unique(np.geomspace(1, len(counts), 300).astype(np.int64))
    exponent = zipf_exponent(counts)
    fit = rank**-exponent * counts.sum() / (np.arange(1, len(counts) + 1) ** -exponent).sum()
    axes.plot(
        rank, counts[rank - 1], color=ACCENT, linewidth=2.5, marker="o" if len(rank) < 3 else None, label="tracks"
    )
    axes.plot(rank, fit, color=GREY, linestyle="--", label=f"Zipf, exponent {exponent:.2f}")
    _log_axis(axes.xaxis, len(counts), "{:,.0f}".format)
    _log_axis(axes.yaxis, counts[0], "{:,.0f}".format)
    axes.set_ylim(bottom=0.8)
    legend_above(axes)
    axes.set_xlabel("rank of the track by its listens")
    axes.set_ylabel("listens")


def _per_user(axes: Any, what: Description) -> None:
    counts = what.listens_U
    edges = np.unique(np.rint(np.geomspace(1, counts[0] + 1, 25)).astype(np.int64))
    axes.hist(counts, bins=edges, color=ACCENT)
    axes.axvline(float(np.median(counts)), color=GREY, linestyle="--", label=f"median {np.median(counts):,.7g}")
    _log_axis(axes.xaxis, counts[0], "{:,.0f}".format)
    _count_axis(axes.yaxis)
    legend_above(axes)
    axes.set_xlabel("listens")
    axes.set_ylabel("users")


def _sessions(axes: Any, what: Description) -> None:
    assert what.sample is not None, "there are listens"
    lengths = what.sample.session_lengths
    counts = np.trim_zeros(np.histogram(lengths, [*_SESSION_EDGES, np.inf])[0], "b")
    _share_bars(axes, counts / len(lengths), _bin_labels(_SESSION_EDGES)[: len(counts)])
    axes.set_xlabel("listens in the session")
    axes.set_ylabel("share of sessions")


def _repeats(axes: Any, what: Description) -> None:
    assert what.sample is not None, "there are listens"
    edges = [*_POSITION_EDGES, np.inf]
    counts = np.histogram(what.sample.positions, edges)[0]
    repeats = np.histogram(what.sample.positions[what.sample.repeats], edges)[0]
    labels = _bin_labels([edge + 1 for edge in _POSITION_EDGES])
    shares = np.divide(repeats, counts, out=np.full(len(counts), np.nan), where=counts >= _MIN_LISTENS)
    enough = counts >= _MIN_LISTENS
    if not enough.any():  # a very small log
        enough, shares = counts > 0, repeats / np.maximum(counts, 1)
    _share_bars(axes, shares[enough], [label for label, shown in zip(labels, enough, strict=True) if shown])
    axes.set_xlabel("place of the listen in its user's history")
    axes.set_ylabel("share of repeats")


def _hours(axes: Any, what: Description) -> None:
    assert what.drift is not None, "it is drawn only where there is drift"
    before, after = what.drift.previous, what.drift.latest
    edges = np.arange(25)
    axes.stairs(after.hours / after.listens, edges, fill=True, color=ACCENT, label=after.name)
    axes.stairs(before.hours / before.listens, edges, baseline=None, color=GREY, linewidth=2, label=before.name)
    axes.set_xticks(range(0, 25, 3))
    axes.set_xlim(0, 24)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    legend_above(axes)
    axes.set_xlabel("hour of day (UTC)")
    axes.set_ylabel("share of listens")


def _track_drift(axes: Any, what: Description) -> None:
    assert what.drift is not None, "it is drawn only where there is drift"
    spans = (what.drift.previous, what.drift.latest)
    # A logarithmic axis cannot show 0: half a listen stands for it.
    before, after = (np.maximum(row, 0.5 / span.listens) for row, span in zip(what.drift.shares, spans, strict=True))
    low, high = min(before.min(), after.min()) / 1.5, max(before.max(), after.max()) * 1.5
    axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1, label="no change")
    axes.scatter(before, after, color=ACCENT, s=14, alpha=0.6, linewidths=0)
    for axis, span in zip((axes.xaxis, axes.yaxis), spans, strict=True):
        _log_axis(axis, high / low, lambda share: f"{100 * share:.3g} %")
        axis.set_label_text(f"share, {span.name}")
    axes.set(xlim=(low, high), ylim=(low, high))
    legend_above(axes)


def _bin_labels(edges: Any) -> list[str]:
    inner = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(edges)]
    return [*inner, f"{edges[-1]}+"]


def _share_bars(axes: Any, shares: NDArray[np.float64], labels: list[str]) -> None:
    bars = axes.bar(labels, shares, color=ACCENT, width=0.8)
    axes.bar_label(bars, [f"{100 * share:.{int(0 < share < 0.01)}f} %" for share in shares], fontsize=8, padding=2)
    axes.tick_params(axis="x", labelsize=8)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylim(0, 1.15 * max(shares.max(), 0.01))
