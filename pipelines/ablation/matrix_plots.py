"""A matrix as plots: metrics by slice, learning curves, the latent's dimensions, and error by uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fsvae.evaluation.latent_use import ACTIVE
from fsvae.evaluation.metric_names import COLUMNS
from fsvae.evaluation.probabilities import reliability
from fsvae.evaluation.result import SPACE_METRICS
from pipelines.ablation.matrix_results import MatrixResults
from pipelines.ablation.matrix_tables import slice_sizes
from pipelines.ablation.verdicts import BETTER, MARKS, verdict
from pipelines.reports.plot import ACCENT, GREY, Plot, legend_above

_COLOURS = ("#e07b39", "#4e8fc7", "#b5484b", "#9a6fc4", "#c9a227", "#2aa198", "#d16ba5", "#8b949e", "#7a5c42")
_WORSE = "#b5484b"
_MARKERS = "osD^vPX*<>"
_BINS = 10
_MUCH_LARGER = 20
_DIFFERENCES = ("l2", "cosine", "recall@10")


def plots(results: MatrixResults) -> list[Plot]:
    """Return the plots for which there are figures."""
    found = [_differences(results)] if len(results.evaluations) > 1 else []
    told = "In brackets: targets in the slice."
    if results.one_space:
        found.append(_by_slice(results, "l2", "L2 distance by slice", f"Lower is better. {told}"))
    found.append(_by_slice(results, "recall@10", "Recall@10 by slice", f"Higher is better. {told}"))
    if results.one_space and any(trial.curves() is not None for trial in _all(results)):
        found.append(
            Plot(
                "Learning curves",
                "L2 distance at the validation positions, a line a seed; the epoch of the lowest point is the best.",
                lambda axes: _curves(axes, results),
            )
        )
    if any(trial.latent() is not None for trial in _all(results)):
        found.append(
            Plot(
                "KL per latent dimension",
                "Mean KL(q || p) over the targets, dimensions in falling order, a line a seed. A dimension is active "
                f"if its posterior mean varies by more than {ACTIVE} or than its posterior does (variances); a "
                "small variance costs KL, too, and tells nothing by itself.",
                lambda axes: _kl(axes, results),
            )
        )
    evaluations = [result for of_variant in results.evaluations.values() for result in of_variant]
    if any(result.first_p is not None for result in evaluations):
        found.append(
            Plot(
                "Reliability of the first track's probability",
                "Targets in equal groups by the probability of the first recommended track, and how often it came "
                "next: on the dashed line a model is as often right as it says; below it, it is too sure.",
                lambda axes: _reliability(axes, results),
            )
        )
    if results.one_space and any(result.uncertainty is not None for result in evaluations):
        found.append(
            Plot(
                "Calibration of the predicted uncertainty",
                f"Targets in {_BINS} equal groups by the model's uncertainty (the mean standard deviation of its "
                "posterior): if it is worth something, errors grow to the right. r: Spearman's rank correlation, "
                "the mean over seeds.",
                lambda axes: _calibration(axes, results),
            )
        )
    return found


def _all(results: MatrixResults) -> Iterator[Any]:
    return (trial for trials in results.trials.values() for trial in trials)


def _style(results: MatrixResults, variant: str) -> dict[str, Any]:
    """Return the colour and the marker that a variant has in all plots."""
    if variant == results.reference:
        return {"color": ACCENT, "marker": "o"}
    place = [name for name in results.evaluations if name != results.reference].index(variant)
    return {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[(place + 1) % len(_MARKERS)]}


def _differences(results: MatrixResults) -> Plot:
    metrics = [metric for metric in _DIFFERENCES if results.one_space or metric not in SPACE_METRICS]
    others = [variant for variant in results.evaluations if variant != results.reference]

    def draw(panels: list[Any]) -> None:
        for panel, metric in zip(panels, metrics, strict=True):
            rows = [results.row(variant, metric) for variant in others]
            _scale(panel, [max(abs(row["low"]), abs(row["high"])) for row in rows if row["low"] is not None])
            for place, row in enumerate(rows):
                if row["low"] is not None:
                    _interval(panel, place, row, verdict(metric, row))
            panel.axvline(0, color=GREY, linestyle="--", linewidth=1)
            panel.set_title(f"difference in {COLUMNS[metric]}", loc="left")
            panel.set_yticks(range(len(others)), others if panel is panels[0] else [""] * len(others))
            panel.set_ylim(len(others) - 0.5, -0.7)
            panel.margins(x=0.25)  # room for the figures

    return Plot(
        "Differences from the reference",
        f"Each variant less {results.reference}, with the 95 % interval: red is worse, green is better, a grey ring is "
        "neither for sure: n.s., the interval holds zero; seeds, it would if what seeds differ by were in it. Where "
        "variants differ much in size, the scale is logarithmic away from zero.",
        draw,
        height=1.0 + 0.4 * len(others),
        panels=len(metrics),
    )


def _scale(axes: Any, reach: Sequence[float]) -> None:
    """Scale the axis so that small differences show beside large ones; `reach` is each interval's reach from 0."""
    largest = max(reach, default=0.0)
    smallest = max(min((length for length in reach if length > 0), default=0.0), largest / 1000)
    if largest > _MUCH_LARGER * smallest:
        axes.set_xscale("symlog", linthresh=2 * smallest, linscale=0.5)
        first, last = np.ceil(np.log10(2 * smallest)), np.floor(np.log10(largest))
        decades = 10.0 ** np.arange(first, last + 1)
        axes.set_xticks([*-decades[::-1], 0, *decades], minor=False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))


def _interval(axes: Any, place: int, row: dict[str, Any], said: str) -> None:
    """Draw the difference of a variant and its interval, with the label `said`."""
    mark = MARKS.get(said, "")
    colour = GREY if mark else ACCENT if said == BETTER else _WORSE
    axes.plot((row["low"], row["high"]), (place, place), color=colour, linewidth=3, alpha=0.6)
    filled = "none" if mark else colour
    axes.plot(row["difference"], place, marker="o", color=colour, markerfacecolor=filled, markersize=7)
    text = f"{row['difference']:+.4f} {mark}".rstrip()
    axes.annotate(text, (row["high"], place), (9, 0), textcoords="offset points", va="center", fontsize=8)


def _by_slice(results: MatrixResults, metric: str, title: str, caption: str) -> Plot:
    sizes = slice_sizes(results, metric)
    variants = len(results.evaluations)

    def draw(axes: Any) -> None:
        for variant in results.evaluations:
            values = [results.row(variant, metric, name)["value"] for name in sizes]
            above = 4 if variant == results.reference else 3
            axes.plot(values, range(len(sizes)), linestyle="", label=variant, zorder=above, **_style(results, variant))
        axes.set_yticks(range(len(sizes)), [f"{name} ({size:,})" for name, size in sizes.items()])
        axes.invert_yaxis()
        axes.grid(axis="y", color=GREY, alpha=0.25)
        axes.set_axisbelow(True)
        legend_above(axes)

    return Plot(title, caption, draw, height=1.0 + 0.26 * len(sizes) + 0.2 * -(-variants // 3))


def _curves(axes: Any, results: MatrixResults) -> None:
    for variant, trials in results.trials.items():
        for seed, curves in enumerate(curves for trial in trials if (curves := trial.curves()) is not None):
            style = _style(results, variant) | {"marker": "", "label": variant if seed == 0 else None}
            axes.plot(curves["epoch"], curves["val/l2"], linewidth=1.5, alpha=0.8, **style)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set(xlabel="epoch", ylabel="val/l2")
    legend_above(axes)


def _kl(axes: Any, results: MatrixResults) -> None:
    for variant, trials in results.trials.items():
        for seed, use in enumerate(use for trial in trials if (use := trial.latent()) is not None):
            nats = np.sort(use.kl_Z)[::-1]
            style = _style(results, variant) | {"marker": "", "label": variant if seed == 0 else None}
            axes.plot(np.arange(1, len(nats) + 1), nats, linewidth=1.5, alpha=0.8, drawstyle="steps-mid", **style)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_ylim(bottom=0)
    axes.set(xlabel="dimension, by its KL", ylabel="KL [nats]")
    legend_above(axes)


def _reliability(axes: Any, results: MatrixResults) -> None:
    for variant, evaluations in results.evaluations.items():
        told = [(o.first_p, o.first_came) for o in evaluations if o.first_p is not None and o.first_came is not None]
        if told:
            of_all_seeds = reliability(*(np.concatenate(part) for part in zip(*told, strict=True)))
            axes.plot(*of_all_seeds[:2], markersize=4, label=variant, **_style(results, variant))
    axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlabel="probability of the first track, mean of the group", ylabel="share that came next")
    legend_above(axes)


def _calibration(axes: Any, results: MatrixResults) -> None:
    for variant, evaluations in results.evaluations.items():
        inside = evaluations[0].in_catalogue
        told = [(o.uncertainty[inside], o.l2[inside]) for o in evaluations if o.uncertainty is not None]
        if not told:
            continue
        # seed by seed, as each has learned its own scale
        points = np.mean([_groups(uncertainty, error) for uncertainty, error in told], axis=0)
        r = np.mean([spearmanr(uncertainty, error).statistic for uncertainty, error in told])
        axes.plot(*points, markersize=4, label=f"{variant}, r = {r:+.2f}", **_style(results, variant))
    axes.set(xlabel="predicted uncertainty, mean of the group", ylabel="L2 distance, mean")
    legend_above(axes)


def _groups(uncertainty: NDArray[np.float32], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean uncertainty and the mean error of groups of targets by their uncertainty, [2, groups]."""
    groups = np.array_split(np.argsort(uncertainty, kind="stable"), min(_BINS, len(uncertainty)))
    return np.array([[of[group].mean() for group in groups] for of in (uncertainty, error)])
