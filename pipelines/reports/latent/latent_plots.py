"""The dimensions, ways and errors of a latent space as plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from fsvae.latent.paths import SIGMAS
from pipelines.reports.latent.figures import LatentFigures
from pipelines.reports.latent.sentences import kl_paid_for
from pipelines.reports.plot import ACCENT, GREY, Plot, legend_above

_BEGIN, _END = "#3a6ea5", "#d1495b"
_UNUSED, _COLLAPSED = "#7b5ea7", "#d1495b"
_FAINT = 0.4


def unit_plots(what: LatentFigures) -> list[Plot]:
    """Return the KL of each dimension, and what the active ones move."""
    found = []
    if what.model.latent == "gaussian":
        for_mean, for_variance = kl_paid_for(what)
        found.append(
            Plot(
                "KL per dimension",
                f"What each dimension costs [nats]: full colour is paid for {for_mean}, faint for {for_variance}. "
                "Neither is what a dimension tells, which is how far its mean spreads beside its variance. The mean of "
                "an active one differs between users. A collapsed one has about the prior as its posterior; one not "
                "used yet is the same for all users, too, but has a small variance.",
                lambda axes: _kl(axes, what),
            )
        )
    if len(what.traversal.dimensions):
        found.append(
            Plot(
                "What a dimension moves",
                f"Each dot is an active dimension: how far what is decoded turns when it goes from {SIGMAS[0]:+.0f} to "
                f"{SIGMAS[-1]:+.0f} standard deviations; a high dot chooses the music.",
                lambda axes: _turns(axes, what),
            )
        )
    return found


def _kl(axes: Any, what: LatentFigures) -> None:
    """Draw a group of bars for each thing that dimensions can be; what is paid for the mean is below in a bar."""
    use, of_mean_Z = what.use, what.kl_of_mean_Z
    groups = (
        ("active", use.is_active, ACCENT),
        ("not used yet", use.is_unused, _UNUSED),
        ("collapsed", use.is_collapsed, _COLLAPSED),
    )
    begin = 0
    for label, inside_Z, colour in groups:
        shown = use.by_kl[inside_Z[use.by_kl]]
        if not len(shown):
            continue
        place, of_mean = np.arange(begin, begin + len(shown)), of_mean_Z[shown]
        begin += len(shown)
        axes.bar(place, of_mean, 0.85, color=colour, label=f"{label} ({len(shown)})")
        axes.bar(place, use.kl_Z[shown] - of_mean, 0.85, of_mean, color=colour, alpha=_FAINT)
        if label == "collapsed":  # bars that are too low to be seen
            axes.plot(place, np.zeros(len(place)), "x", color=colour, clip_on=False)
    for part, alpha in (("full: for the mean", 1.0), ("faint: for the variance", _FAINT)):
        axes.bar(0, 0, color=GREY, alpha=alpha, label=part)  # for the legend alone
    legend_above(axes)
    axes.set_xlim(-1, len(use.kl_Z))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("dimensions of the latent, by what they are and by KL")
    axes.set_ylabel("KL [nats]")


def _turns(axes: Any, what: LatentFigures) -> None:
    moved = what.traversal
    gaussian = what.model.latent == "gaussian"
    x = (what.kl_of_mean_Z if gaussian else what.use.variance_Z)[moved.dimensions]
    axes.scatter(x, moved.turn, color=ACCENT, s=26, alpha=0.8, linewidths=0)
    axes.set_xlabel("KL paid for the mean [nats]" if gaussian else "variance of the state")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_ylabel("turn [degrees]")
    axes.set_ylim(0, 1.1 * max(float(moved.turn.max()), 1.0))


def walk_plots(what: LatentFigures) -> list[Plot]:
    """Return the way between two users, and how smooth such ways are."""
    return [
        Plot(
            f"From {what.walk.begin} to {what.walk.end}",
            "Cosine of what is decoded at each stop: curves that cross once and never jump are a smooth way from one "
            "user's music to the other's.",
            lambda axes: _walk(axes, what),
        ),
        Plot(
            "Smoothness",
            "A step on the way between two random users (green) should land near 1; two random users (grey) are as far "
            "apart as the ends of such ways.",
            lambda axes: _smoothness(axes, what),
        ),
    ]


def _walk(axes: Any, what: LatentFigures) -> None:
    walk = what.walk
    share = np.linspace(0, 1, len(walk.to_begin))
    axes.plot(share, walk.to_begin, color=_BEGIN, marker="o", label=f"to {walk.begin}")
    axes.plot(share, walk.to_end, color=_END, marker="o", label=f"to {walk.end}")
    axes.plot(
        (share[:-1] + share[1:]) / 2, walk.to_next, color=ACCENT, linestyle="--", marker=".", label="to the next stop"
    )
    legend_above(axes)
    axes.set_xlabel("share of the way")
    axes.set_ylabel("cosine")


def _smoothness(axes: Any, what: LatentFigures) -> None:
    smooth = what.walk.smoothness
    lowest = min(-0.2, float(smooth.ends.min()), float(smooth.neighbours.min()))
    bins = np.linspace(lowest, 1, 49).tolist()
    for values, colour, label in ((smooth.ends, GREY, "two random users"), (smooth.neighbours, ACCENT, "one step")):
        axes.hist(values, bins, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.85, label=label)
    legend_above(axes)
    axes.set_xlabel("cosine of what is decoded")
    axes.set_ylabel("share")


def anomaly_plots(what: LatentFigures) -> list[Plot]:
    """Return the reconstruction errors of users and listens."""
    found = []
    if len(what.anomalies.user) > 1:
        found.append(
            Plot(
                "Anomaly score of users",
                "Users by the mean reconstruction error of their latest listens, in robust standard deviations from "
                "the median user; what stands alone on the right is unlike what the model has learned.",
                lambda axes: _scores(axes, what),
            )
        )
    if len(what.errors.nll):
        found.append(
            Plot(
                "Reconstruction error of listens",
                "Negative log likelihood of each listen [nats]; the right tail is what surprised the model, and the "
                "dashed line is the mean. The axis of listens is logarithmic.",
                lambda axes: _errors(axes, what.errors.nll),
            )
        )
    return found


def _scores(axes: Any, what: LatentFigures) -> None:
    scores = what.anomalies.score
    axes.hist(scores, bins=min(40, 5 + len(scores) // 10), color=ACCENT)
    _named(axes, scores[:3], [what.user_ids[user] for user in what.anomalies.user[:3]])
    axes.set_xlabel("robust standard deviations above the median user")
    axes.set_ylabel("users")


def _named(axes: Any, values: NDArray[np.float64], names: Sequence[str]) -> None:
    top = axes.get_ylim()[1]
    for place, (value, name) in enumerate(zip(values, names, strict=True)):
        axes.annotate(name, (value, 0), (value, top * (0.32 + 0.13 * place)), ha="right", fontsize=8,
                      arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8})  # fmt: skip


def _errors(axes: Any, nll: NDArray[np.float64]) -> None:
    axes.hist(nll, bins=60, color=ACCENT)
    axes.axvline(float(nll.mean()), color=GREY, linestyle="--")
    axes.set_yscale("log")  # most listens are expected, and the few that are not are what one looks for
    axes.yaxis.set_major_formatter(FuncFormatter(lambda listens, _: f"{listens:,.0f}"))
    axes.set_xlabel("reconstruction error [nats]")
    axes.set_ylabel("listens")
