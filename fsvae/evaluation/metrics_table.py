"""An evaluation as a Markdown table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fsvae.evaluation.metric_names import COLUMNS, CUTOFFS
from fsvae.evaluation.probabilities import BINS
from fsvae.evaluation.result import EvaluationResult

LIVE = "everybody's part of the memory is brought up to date at each midnight, without training"
"""What a row of a model evaluated live is."""
LIST_COLUMNS = {"coverage@10": "coverage@10", "novelty@10": "novelty@10, bits", "diversity@10": "diversity@10"}
"""Metrics of the lists of ten → heading; more is not better in itself."""
LIST_CAPTION = (
    "The ten tracks recommended for each target: the share of all tracks that is recommended at least once, the "
    "mean -log2\nof a track's share of the training listens, and the mean cosine distance between two of the ten."
)

PROBABILITY_COLUMNS = {"nats": "nats ↓", "calibration_error": "calibration error ↓"}
"""Metrics of models whose scores are probabilities → heading."""
PROBABILITY_CAPTION = (
    "What models with probabilities lose at each next track heard before by anybody, -ln p (a thousandth of even odds "
    "is\nmixed in), and how far the probability of the first recommended track is from how often it comes, a mean over "
    f"{BINS} groups\nby that probability."
)


def learned_from(validation_learned: bool) -> str:
    """Return the words for what a model has learned from."""
    return "the training and the validation period together" if validation_learned else "the training period"


def caption(results: Sequence[EvaluationResult], min_count: int, validation_learned: bool) -> str:
    """Return the caption: what the models have learned from, and the targets that the figures are over."""
    first = results[0]
    live = any(result.model.endswith(", live") for result in results)
    return (
        f"All models have learned from {learned_from(validation_learned)}.\n"
        + (f"Live: {LIVE}.\n" if live else "")
        + f"R@k is Recall@k. {len(first.targets):,} targets, ranked among all tracks heard before, at last "
        f"{first.n_candidates:,}; one heard for\nthe first time is a miss. Distances and (catalogue): the "
        f"{int(first.in_catalogue.sum()):,} targets in the trained catalogue (tracks with at least\n{min_count} "
        "training listens), ranked among its tracks."
    )


def best_models(results: Sequence[EvaluationResult]) -> dict[str, set[str]]:
    """Return the models with the best printed figure of each metric."""
    best = {}
    for metric, heading in COLUMNS.items():
        values = {result.model: round(result.metrics()[metric], 3) for result in results}
        top = min(values.values()) if "↓" in heading else max(values.values())
        best[metric] = {model for model, value in values.items() if value == top}
    return best


def markdown(results: Sequence[EvaluationResult], min_count: int, validation_learned: bool) -> str:
    """Return the table of models and metrics, with the best figure of each column in bold, and that of their lists."""
    best = best_models(results)
    lines = ["| model | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for result in results:
        metrics = result.metrics()
        cells = [
            f"**{metrics[metric]:.3f}**" if result.model in best[metric] else f"{metrics[metric]:.3f}"
            for metric in COLUMNS
        ]
        lines.append(f"| {result.model} | " + " | ".join(cells) + " |")
    lines += ["", caption(results, min_count, validation_learned), ""]
    lines += [*_plain_table(results, LIST_COLUMNS), "", LIST_CAPTION, ""]
    if with_probabilities := [result for result in results if result.nats is not None]:
        lines += [*_plain_table(with_probabilities, PROBABILITY_COLUMNS), "", PROBABILITY_CAPTION, ""]
    return "\n".join(lines)


def _plain_table(results: Sequence[EvaluationResult], columns: Mapping[str, str]) -> list[str]:
    lines = ["| model | " + " | ".join(columns.values()) + " |", "|---|" + "---:|" * len(columns)]
    for result in results:
        metrics = result.metrics()
        lines.append(f"| {result.model} | " + " | ".join(f"{metrics[metric]:.3f}" for metric in columns) + " |")
    return lines


def plot(results: Sequence[EvaluationResult], path: Path) -> None:
    """Draw distances as bars and the share of targets found in the first k as curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    distances, curves = figure.subplots(1, 2, width_ratios=[3, 2])
    names = [result.model for result in results]
    colours = ["#1db954" if name == "FS-VAE" else grey for name, grey in zip(names, _greys(len(names)), strict=True)]
    for offset, metric in ((0, "l2"), (len(names) + 1, "cosine")):
        values = [result.metrics()[metric] for result in results]
        bars = distances.bar(np.arange(len(names)) + offset, values, color=colours)
        distances.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=9)
    distances.set_xticks([(len(names) - 1) / 2, len(names) + 1 + (len(names) - 1) / 2])
    distances.set_xticklabels(["L2 distance", "cosine distance"])
    distances.set_title("From the predicted to the actual next track (lower is better)", fontsize=10)
    ks = np.unique(np.geomspace(1, 100, 25).astype(int))
    for result, colour in zip(results, colours, strict=True):
        curves.plot(ks, [float((result.ranks <= k).mean()) for k in ks], color=colour, label=result.model, linewidth=2)
    curves.set_xscale("log")
    curves.set_xticks(CUTOFFS, [str(k) for k in CUTOFFS])
    curves.minorticks_off()
    curves.set_xlabel("k")
    curves.set_title("Share of next tracks among the first k", fontsize=10)
    curves.legend(frameon=False, fontsize=9)
    for axes in (distances, curves):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _greys(count: int) -> list[str]:
    return [str(level) for level in np.linspace(0.75, 0.35, count)]
