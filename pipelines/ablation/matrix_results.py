"""The results of a matrix, and the comparison of its variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError, nearest
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.result import EvaluationResult
from fsvae.storage import Folder
from pipelines.ablation.run import RECORD, records
from pipelines.ablation.variant import StoredTrial
from pipelines.ablation.variant_datasets import FOLDER
from pipelines.prepare.datasets import open_in_use


@dataclass(frozen=True)
class MatrixResults:
    """The variants of a matrix that are done, compared with its reference."""

    folder: Path
    record: dict[str, Any]
    """Contents of `matrix.json`."""
    dataset: Dataset
    """Dataset of the reference."""
    trials: dict[str, list[StoredTrial]]
    """Variant → its finished runs, in the order of the matrix."""
    evaluations: dict[str, list[EvaluationResult]]
    """Variant → results of the same runs, target by target; `<variant>, live` → those evaluated live."""
    table: pl.DataFrame
    """Comparison of the variants (`fsvae.evaluation.comparison`)."""
    missing: list[str]
    """Names of the runs that are not done."""

    @property
    def reference(self) -> str:
        """Return the variant that the others are compared with."""
        return str(self.record["reference"])

    @property
    def one_space(self) -> bool:
        """Return whether distances of all variants are in the same track space."""
        return len({result.dataset for evaluations in self.evaluations.values() for result in evaluations}) == 1

    @property
    def twins(self) -> list[tuple[str, str]]:
        """Return the pairs of variants that are the same model."""
        return twins(self.record)

    def row(self, variant: str, metric: str, of: str = "all") -> dict[str, Any]:
        """Return a variant's row of the comparison, on a slice."""
        wanted = (pl.col("model") == variant) & (pl.col("metric") == metric) & (pl.col("slice") == of)
        return self.table.row(by_predicate=wanted, named=True)


def twins(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of variants of a matrix that have the same runs, each with the first variant that has them."""
    first: dict[tuple[str, ...], str] = {}
    runs = {variant["name"]: tuple(trial["folder"] for trial in variant["trials"]) for variant in record["variants"]}
    named = [(variant, first.setdefault(of_variant, variant)) for variant, of_variant in runs.items()]
    return [(variant, same) for variant, same in named if variant != same]


def find_matrix(matrices: Path, name: str, period: str = "") -> Path:
    """Return the folder of the matrix that was run last, among those of a name and a period if these are not empty.

    Raises:
        UserError: there is no such matrix.
    """
    written = records(matrices)
    found = {
        folder: record["at"]
        for folder, record in written.items()
        if name in ("", record["name"]) and period in ("", record["period"])
    }
    if not found:
        known = sorted({f"{record['name']} ({record['period']})" for record in written.values()})
        names = {record["name"] for record in written.values()}
        what = " ".join(filter(None, ["no matrix", name, f"on the {period} period" if period else ""]))
        there = f", only {', '.join(known)}." if known else "."
        hint = "" if name in names else nearest(name, sorted(names))
        command = f"fsvae ablate ablation={name or 'paper'}" + (f" evaluate.period={period}" if period else "")
        raise UserError(f"{matrices}: {what} there{there}{hint} Run one: {command}.")
    return max(found, key=found.__getitem__)


def read_results(folder: Path, variants: Path, datasets: Folder) -> MatrixResults:
    """Return the results of the finished runs of a matrix.

    Raises:
        UserError: no run of the reference is done, or its dataset was deleted.
    """
    record = Folder.at(folder).read_json(RECORD)
    trials: dict[str, list[StoredTrial]] = {}
    missing = []
    for variant in record["variants"]:
        for trial in variant["trials"]:
            stored = StoredTrial(variants / trial["folder"], record["period"], variant.get("live", False))
            if stored.done:
                trials.setdefault(variant["name"], []).append(stored)
            else:
                missing.append(f"{variant['name']}, seed {trial['seed']}")
    reference = record["reference"]
    if reference not in trials:
        raise UserError(
            f"{folder}: no run of the reference, {reference}, is there: it is not done yet, or was deleted when newer "
            f"matrices ran (ablation.keep). Run it: {record['command']}"
        )
    (of_reference,) = (variant["dataset"] for variant in record["variants"] if variant["name"] == reference)
    dataset = _dataset(datasets, of_reference)
    evaluations: dict[str, list[EvaluationResult]] = {}
    for variant, of_variant in trials.items():
        evaluations[variant] = [stored.result(variant) for stored in of_variant]
        if of_variant[0].live:
            name = f"{variant}, live"
            evaluations[name] = [stored.result(name, live=True) for stored in of_variant]
    return MatrixResults(
        folder, record, dataset, trials, evaluations, comparison(evaluations, reference, dataset), missing
    )


def _dataset(datasets: Folder, name: str) -> Dataset:
    for where in (datasets, datasets / FOLDER):
        if (where / name).exists("manifest.json"):
            return open_in_use(where / name)
    raise UserError(f"{datasets / name}: the dataset of the matrix is no more there. Run it on the present one.")
