"""The dimensions of a latent space, the path between two users, and the anomaly scores of users, as plots."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.reports.latent.figures import LatentFigures
from pipelines.reports.plot import ACCENT, GREY, Plot, legend_above

_BEGIN, _END = "#3a6ea5", "#d1495b"
_KIND_COLOURS = {"active": ACCENT, "not used yet": "#7b5ea7", "collapsed": "#d1495b"}
_FAINT = 0.4


def kl_plots(what: LatentFigures) -> list[Plot]:
    """Return the KL of each dimension; a deterministic latent has none."""
    if what.model.latent != "gaussian":
        return []
    caption = (
        "Nats of KL beside the prior: full colour is paid for the mean, faint for the variance. Neither is what a "
        "dimension tells, which is how far its mean spreads beside its variance."
    )
    return [Plot("KL per dimension", caption, lambda axes: _kl(axes, what))]


def _kl(axes: Any, what: LatentFigures) -> None:
    """Draw a group of bars for each kind of dimension; the part of the mean is the lower one of a bar."""
    use, of_mean_Z = what.use, what.kl_of_mean_Z
    begin = 0
    for label, colour in _KIND_COLOURS.items():
        shown = use.by_kl[use.kinds[use.by_kl] == label]
        if not len(shown):
            continue
        place, of_mean = np.arange(begin, begin + len(shown)), of_mean_Z[shown]
        begin += len(shown)
        axes.bar(place, of_mean, 0.85, color=colour, label=f"{label} ({len(shown)})")
        axes.bar(place, use.kl_Z[shown] - of_mean, 0.85, of_mean, color=colour, alpha=_FAINT)
        if label == "collapsed":  # bars too low to be seen
            axes.plot(place, np.zeros(len(place)), "x", color=colour, clip_on=False)
    for part, alpha in (("full: for the mean", 1.0), ("faint: for the variance", _FAINT)):
        axes.bar(0, 0, color=GREY, alpha=alpha, label=part)  # for the legend alone
    legend_above(axes)
    axes.set_xlim(-1, len(use.kl_Z))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("dimensions of the latent, by what they are and by KL")
    axes.set_ylabel("KL [nats]")


def walk_plot(what: LatentFigures) -> Plot:
    """Return the plot of the path between two users."""
    return Plot(
        f"From {what.walk.begin} to {what.walk.end}",
        "Cosine of what is decoded at each stop: curves that cross once and never jump are a smooth way from one "
        "user's music to the other's.",
        lambda axes: _walk(axes, what),
    )


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


def anomaly_plots(what: LatentFigures) -> list[Plot]:
    """Return the plot of the users' anomaly scores, where there are at least two."""
    if len(what.anomalies.user) < 2:
        return []
    caption = (
        "Users by the mean reconstruction error of their latest listens, in robust standard deviations from the median "
        "user; what stands alone on the right is unlike what the model has learned."
    )
    return [Plot("Anomaly score of users", caption, lambda axes: _scores(axes, what))]


def _scores(axes: Any, what: LatentFigures) -> None:
    scores = what.anomalies.score
    axes.hist(scores, bins=min(40, 5 + len(scores) // 10), color=ACCENT)
    top = axes.get_ylim()[1]
    for place, (score, user) in enumerate(zip(scores[:3], what.anomalies.user[:3], strict=True)):
        arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8}
        above = (score, top * (0.32 + 0.13 * place))
        axes.annotate(what.user_ids[user], (score, 0), above, ha="right", fontsize=8, arrowprops=arrow)
    axes.set_xlabel("robust standard deviations above the median user")
    axes.set_ylabel("users")
