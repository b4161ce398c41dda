"""What a matrix says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fsvae.evaluation.result import SPACE_METRICS
from pipelines.ablation.matrix_results import MatrixResults
from pipelines.ablation.verdicts import LOWER_IS_BETTER, SEEDS, VERDICTS, WORSE, verdict
from pipelines.reports.words import count

_NAMES = {"l2": "L2", "cosine": "cosine", "recall@10": "Recall@10"}


def notes(results: MatrixResults) -> list[str]:
    """Return what is to be known before the figures are read: what is missing, and what they cannot tell."""
    found = [f"Not done yet: {'; '.join(results.missing)}."] if results.missing else []
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
    """Return whether the reference is best, what is worse for sure and what is not."""
    others = [variant for variant in results.evaluations if variant != results.reference]
    metrics = [metric for metric in _NAMES if results.one_space or metric not in SPACE_METRICS]
    found = []
    if results.row(results.reference, "l2")["value"] is None:
        found.append("No target of the period is in the catalogue: there is nothing to compare by.")
        others = []
    if others and results.one_space:
        found.append(_verdict(results, others))
    if not results.one_space:
        found.append(
            "The variants have track spaces of their own, in which L2 and cosine distances are not comparable."
        )
    if others:
        found += [_of_metric(results, metric, others) for metric in metrics]
    return found


def latent_findings(results: MatrixResults) -> list[str]:
    """Return how many dimensions of each latent are active, and where none is, whether all have collapsed."""
    found = []
    for variant, trials in results.trials.items():
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
        found.append(f"{variant}: {of}.")
    return found


def _verdict(results: MatrixResults, others: Sequence[str]) -> str:
    """Return whether the reference is best in both distances, and how each other variant compares in them."""
    best = [_NAMES[metric] for metric in LOWER_IS_BETTER if _best(results, metric) == results.reference]
    start = f"{results.reference} is best in {' and '.join(best) if best else 'neither L2 nor cosine'}"
    groups: dict[str, list[str]] = {name: [] for name in VERDICTS}
    for variant in others:
        of_metric = {metric: verdict(metric, results.row(variant, metric)) for metric in LOWER_IS_BETTER}
        for name in dict.fromkeys(of_metric.values()):
            where = [_NAMES[metric] for metric, found in of_metric.items() if found == name]
            groups[name].append(f"{variant} ({', '.join(where)})")
    if not any(variants for name, variants in groups.items() if name != WORSE):
        so_far = " done so far" if results.missing else ""
        return f"{start}, and every other variant{so_far} is worse in both, with 95 % intervals that exclude zero."
    return f"{start}. {_groups(groups)}"


def _of_metric(results: MatrixResults, metric: str, others: Sequence[str]) -> str:
    best = _best(results, metric)
    of_reference = results.row(results.reference, metric)["value"]
    words = f"{_NAMES[metric]}: best is {best} ({results.row(best, metric)['value']:.4f})"
    words += "." if best == results.reference else f"; {results.reference} has {of_reference:.4f}."
    groups: dict[str, list[str]] = {name: [] for name in VERDICTS}
    for variant in others:
        row = results.row(variant, metric)
        name = verdict(metric, row)
        figures = ""
        if row["difference"] is not None:
            seeds = f", seeds ±{row['seed_margin']:.4f}" if name == SEEDS else ""
            figures = f" ({row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]{seeds})"
        groups[name].append(f"{variant}{figures}")
    return f"{words} {_groups(groups)}".rstrip()


def _groups(groups: Mapping[str, Sequence[str]]) -> str:
    """Return the variants of each verdict, what is for sure first."""
    return " ".join(f"{name}: {'; '.join(variants)}." for name, variants in groups.items() if variants)


def _best(results: MatrixResults, metric: str) -> str:
    values = {variant: results.row(variant, metric)["value"] for variant in results.evaluations}
    return (min if metric in LOWER_IS_BETTER else max)(values, key=values.__getitem__)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
