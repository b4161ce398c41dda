"""What a matrix says, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from fsvae.evaluation.outcome import SPACE_METRICS
from pipelines.ablation.results import Results
from pipelines.words import count

LOWER_IS_BETTER = ("l2", "cosine")
_NAMES = {"l2": "L2", "cosine": "cosine", "recall@10": "Recall@10"}


def findings(results: Results) -> list[str]:
    """Return whether the reference is best, what is worse for sure and what is not, and what is missing."""
    others = [cell for cell in results.outcomes if cell != results.reference]
    metrics = [metric for metric in _NAMES if results.one_space or metric not in SPACE_METRICS]
    found = []
    if results.row(results.reference, "l2")["value"] is None:
        found.append("No target of the period is in the catalogue: there is nothing to compare by.")
        others = []
    if others and results.one_space:
        found.append(_verdict(results, others))
    if not results.one_space:
        found.append("The cells have track spaces of their own, in which L2 and cosine distances are not comparable.")
    if others:
        found += [_of_metric(results, metric, others) for metric in metrics]
    if results.missing:
        found.append(f"Not done yet: {'; '.join(results.missing)}.")
    return found


def latent_findings(results: Results) -> list[str]:
    """Return how many dimensions of each latent are active, and where none is, whether all have collapsed."""
    found = []
    for cell, trials in results.trials.items():
        uses = [use for trial in trials if (use := trial.latent()) is not None]
        if not uses:
            continue
        size, active = len(uses[0].kl_Z), [use.active for use in uses]
        nats = sum(float(use.kl_Z.sum()) for use in uses) / len(uses)
        of = f"{_range(active)} of {count(size, 'dimension')} active, KL {nats:.2f} nats in all"
        collapsed = sum(use.collapsed == size for use in uses)
        unused = sum(use.active == 0 for use in uses) - collapsed
        silent = [
            name if seeds == len(uses) else f"{name} with {seeds} of {len(uses)} seeds"
            for seeds, name in ((collapsed, "posterior collapse"), (unused, "not used yet"))
            if seeds
        ]
        if silent:
            of += f": {' and '.join(silent)}, the latent tells nothing of the user"
        found.append(f"{cell}: {of}.")
    return found


def is_better(metric: str, difference: float) -> bool:
    """Return whether a difference from the reference is for the better."""
    return difference < 0 if metric in LOWER_IS_BETTER else difference > 0


def _verdict(results: Results, others: Sequence[str]) -> str:
    """Return whether the reference is best in both distances and all others are worse for sure."""
    best = [_NAMES[metric] for metric in LOWER_IS_BETTER if _best(results, metric) == results.reference]
    start = (
        f"{results.reference} is best in {' and '.join(best)}" if best else f"{results.reference} is best in neither"
    )
    unsure = []
    for cell in others:
        rows = {metric: results.row(cell, metric) for metric in LOWER_IS_BETTER}
        not_worse = [_NAMES[name] for name, row in rows.items() if not (row["significant"] and row["difference"] > 0)]
        if not_worse:
            unsure.append(f"{cell} ({', '.join(not_worse)})")
    if not unsure:
        return f"{start}, and every other cell is worse in both, with a 95 % interval that excludes zero."
    return f"{start}. Not shown to be worse, with a 95 % interval that excludes zero: {'; '.join(unsure)}."


def _of_metric(results: Results, metric: str, others: Sequence[str]) -> str:
    best = _best(results, metric)
    of_reference = results.row(results.reference, metric)["value"]
    words = f"{_NAMES[metric]}: best is {best} ({results.row(best, metric)['value']:.4f})"
    words += "." if best == results.reference else f"; {results.reference} has {of_reference:.4f}."
    groups: dict[str, list[str]] = {
        "Worse": [],
        "Better": [],
        "Not told apart": [],
        "Too few users for an interval": [],
    }
    for cell in others:
        row = results.row(cell, metric)
        if row["difference"] is None:
            groups["Too few users for an interval"].append(cell)
            continue
        group = (
            "Not told apart" if not row["significant"] else ["Worse", "Better"][is_better(metric, row["difference"])]
        )
        groups[group].append(f"{cell} ({row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}])")
    return " ".join([words, *(f"{group}: {', '.join(cells)}." for group, cells in groups.items() if cells)])


def _best(results: Results, metric: str) -> str:
    values = {cell: results.row(cell, metric)["value"] for cell in results.outcomes}
    return (min if metric in LOWER_IS_BETTER else max)(values, key=values.__getitem__)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
