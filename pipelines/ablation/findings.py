"""The findings of a matrix in a few lines: notes, a verdict on each variant, and the dimensions in use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fsvae.evaluation.latent_use import DIMENSION_KINDS
from fsvae.evaluation.result import SPACE_METRICS
from pipelines.ablation.matrix_results import MatrixResults
from pipelines.ablation.verdicts import verdict

_NAMES = {"l2": "L2", "cosine": "cosine", "recall@10": "Recall@10"}


def notes(results: MatrixResults) -> list[str]:
    """Return the notes to read before the figures: missing runs, and limits of the comparison."""
    found = [f"Not done yet: {'; '.join(results.missing)}."] if results.missing else []
    if results.row(results.reference, "l2")["value"] is None:
        found.append("No target of the period is in the trained catalogue: there are no distances.")
    if not results.one_space:
        found.append("The variants have track spaces of their own: L2 and cosine distances are not comparable.")
    found += [
        f"'{variant}' and '{same}' are one model: no setting differs that it reads." for variant, same in results.twins
    ]
    trained = {variant: len(trials) for variant, trials in results.trials.items() if trials[0].summary()["epochs"]}
    of_one = [variant for variant, seeds in trained.items() if seeds == 1]
    if of_one:
        which = "One seed each" if len(of_one) == len(trained) else f"One seed only: {'; '.join(of_one)}"
        found.append(f"{which}: how far another seed would move these figures is not known.")
    return found


def findings(results: MatrixResults) -> list[str]:
    """Return the reference's figures, and for each other variant how it compares with them."""
    reference = results.reference
    names = {
        metric: name
        for metric, name in _NAMES.items()
        if (results.one_space or metric not in SPACE_METRICS) and results.row(reference, metric)["value"] is not None
    }
    values = [f"{name} {results.row(reference, metric)['value']:.4f}" for metric, name in names.items()]
    lines = [f"{reference} (reference): {', '.join(values)}"]
    for variant in results.evaluations:
        if variant != reference:
            told = [f"{name} {_told(metric, results.row(variant, metric))}" for metric, name in names.items()]
            lines.append(f"{variant}: {', '.join(told)}")
    return lines


def latent_findings(results: MatrixResults) -> list[str]:
    """Return the numbers of active, collapsed and unused dimensions of each latent, and their KL."""
    lines = []
    for variant, trials in results.trials.items():
        uses = [use for trial in trials if (use := trial.latent()) is not None]
        if uses:
            counts = ", ".join(f"{_range([use.count(kind) for use in uses])} {kind}" for kind in DIMENSION_KINDS)
            nats = np.mean([use.kl_Z.sum() for use in uses])
            lines.append(f"{variant}: of {len(uses[0].kl_Z)} dimensions {counts}; KL {nats:.2f} nats")
    return lines


def _told(metric: str, row: dict[str, float | None]) -> str:
    difference = "" if row["difference"] is None else f" ({row['difference']:+.4f})"
    return f"{verdict(metric, row)}{difference}"


def _range(numbers: Sequence[int]) -> str:
    """Return the smallest and the largest number, or the only one."""
    return " to ".join(map(str, dict.fromkeys((min(numbers), max(numbers)))))
