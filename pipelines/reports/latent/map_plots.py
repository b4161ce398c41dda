"""The maps of a latent space as plots: states by taste, last track and hour, and the paths of followed users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US, utc_text
from fsvae.latent.maps import NO_TASTE, Clusters, Space, principal_axes
from pipelines.reports.latent.figures import FollowedUser, LatentFigures
from pipelines.reports.plot import GREY, Plot, legend_above

CLUSTER_COLOURS = ("#1f9e4b", "#d1495b", "#3a6ea5", "#e09f3e", "#7b5ea7", "#1aa6a6", "#b5739d", "#8a7a3c")
"""Colours of the clusters, by size; they are distinct on light and on dark."""
_HOURS = LinearSegmentedColormap.from_list("hours", ["#3b4cc0", "#2a9d8f", "#e9a820", "#d1495b", "#3b4cc0"])
"""Colours of the hours: midnight, morning, noon, evening and midnight again."""
_DAYS = LinearSegmentedColormap.from_list("days", ["#5aa9e6", "#7b5ea7", "#d1495b"])
_SIDES = {"slow": "slow features alone", "fast": "recent listens alone", "both": "both"}


def map_plots(what: LatentFigures) -> list[Plot]:
    """Return the map of the states, by taste, by last track and by hour."""
    maps = what.maps
    colourings: tuple[tuple[str, str, Callable[[Any], None]], ...] = (
        (
            "By taste",
            "Each dot is a user just before a listen, coloured by what they liked in the 28 days before: colours that "
            "lie apart are tastes that the space tells apart.",
            lambda axes: _by_cluster(axes, maps.principal_N2, maps.taste),
        ),
        (
            "By last track",
            "The same dots by the track just heard: where a group has one colour, the mood makes the state.",
            lambda axes: _by_cluster(axes, maps.principal_N2, maps.last),
        ),
        (
            "By hour",
            "The same dots by hour of day (UTC): where colours gather, the time of day moves the state.",
            lambda axes: _by_hour(axes, maps.principal_N2, maps.hour_N),
        ),
    )
    return [Plot(title, caption, _on_map(colour, what.space), height=4.6) for title, caption, colour in colourings]


def _on_map(colour: Callable[[Any], None], space: Space) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        colour(axes)
        _no_ticks(axes, *(f" ({100 * share:.0f} % of the variance)" for share in space.explained_2))

    return draw


def _by_cluster(axes: Any, xy: NDArray[np.float64], clusters: Clusters) -> None:
    for cluster in (*range(len(clusters.centres_CD)), NO_TASTE):
        inside = clusters.label_N == cluster
        if inside.any():
            colour = GREY if cluster == NO_TASTE else CLUSTER_COLOURS[cluster]
            _dots(axes, xy[inside], color=colour, label="none yet" if cluster == NO_TASTE else f"{cluster + 1}")
    legend_above(axes, markerscale=2)


def _by_hour(axes: Any, xy: NDArray[np.float64], hour_N: NDArray[np.int64]) -> None:
    _dots(axes, xy, c=hour_N + 0.5, cmap=_HOURS, vmin=0, vmax=24)
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, 24), _HOURS), ax=axes, aspect=40, pad=0.01)
    bar.set_ticks(range(0, 25, 6), labels=[f"{hour} h" for hour in range(0, 25, 6)])
    bar.outline.set_visible(False)


def _dots(axes: Any, xy: NDArray[np.float64], **how: Any) -> None:
    size = 9 if len(xy) > 1000 else 14
    axes.scatter(xy[:, 0], xy[:, 1], s=size, alpha=0.75, linewidths=0, rasterized=True, **how)


def _no_ticks(axes: Any, first: str = "", second: str = "") -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"first principal axis{first}")
    axes.set_ylabel(f"second principal axis{second}")


def drift_plots(what: LatentFigures) -> list[Plot]:
    """Return the paths of the followed users, a panel for each side."""
    return [
        Plot(
            f"Drift of {user.user_id}",
            "One dot a day (the mean of the day's states), joined in order from the ring to the square, on the PCA map "
            "of all states (grey). All are asked for at the same time of day and week. A slow path that goes far is a "
            "taste that changes, a fast one a mood; compare the steps in the table.",
            lambda panels, user=user: _drift(panels, what, user),  # type: ignore[misc]
            height=3.5,
            panels=len(user.paths) + ("slow" in user.paths),
        )
        for user in what.followed
        if user.paths
    ]


def _drift(panels: list[Any], what: LatentFigures, user: FollowedUser) -> None:
    paths = {side: what.space.project(one.mean_TZ) for side, one in user.paths.items()}
    days = next(iter(user.paths.values())).day_T
    norm = Normalize(days[0], max(days[-1], days[0] + 1))
    everything = np.concatenate([what.maps.principal_N2, *paths.values()])
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = 0.03 * np.maximum(high - low, 1e-6)
    for panel, (side, xy) in zip(panels, paths.items(), strict=False):
        panel.scatter(*what.maps.principal_N2.T, s=5, color=GREY, alpha=0.3, linewidths=0, rasterized=True)
        _path(panel, xy, days, norm)
        panel.set_title(_SIDES[side], loc="left")
        panel.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
        _no_ticks(panel)
    if "slow" in user.paths:
        mean_TZ = user.paths["slow"].mean_TZ.astype(np.float64)
        axes_2Z, _ = principal_axes(mean_TZ)
        _path(panels[-1], (mean_TZ - mean_TZ.mean(axis=0)) @ axes_2Z.T, days, norm)
        panels[-1].set_title("slow, enlarged, on its own axes", loc="left")
        panels[-1].margins(0.12)
        _no_ticks(panels[-1])
    for panel in panels[1:]:
        panel.set_ylabel("")
    bar = panels[0].figure.colorbar(ScalarMappable(norm, _DAYS), ax=panels, aspect=40, pad=0.01)
    bar.set_ticks(np.linspace(days[0], max(days[-1], days[0] + 1), 5))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda day, _: utc_text(round(day) * DAY_US, "%d %b")))
    bar.outline.set_visible(False)


def _path(axes: Any, xy: NDArray[np.float64], days: NDArray[np.int64], norm: Normalize) -> None:
    segments = np.stack([xy[:-1], xy[1:]], axis=1)
    axes.add_collection(
        LineCollection(list(segments), array=days[1:], cmap=_DAYS, norm=norm, linewidths=1.2, alpha=0.7)
    )
    axes.scatter(*xy.T, c=days, cmap=_DAYS, norm=norm, s=22, linewidths=0, zorder=3)
    axes.scatter(
        *xy[:1].T, marker="o", s=110, facecolors="none", edgecolors=[_DAYS(norm(days[0]))], linewidths=2, zorder=4
    )
    axes.scatter(*xy[-1:].T, marker="s", s=70, color=[_DAYS(norm(days[-1]))], linewidths=0, zorder=4)
