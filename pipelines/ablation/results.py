"""What is written down of a matrix, and the comparison of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fsvae.data.dataset import PreparedDataset, open_dataset
from fsvae.errors import UserError, nearest
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.outcome import Outcome
from fsvae.storage import Folder
from pipelines.ablation.cell import StoredTrial
from pipelines.ablation.datasets import FOLDER
from pipelines.ablation.run import RECORD


@dataclass(frozen=True)
class Results:
    """The cells of a matrix that are done, compared with its reference."""

    folder: Path
    record: dict[str, Any]
    """`matrix.json`."""
    dataset: PreparedDataset
    """Of the reference."""
    trials: dict[str, list[StoredTrial]]
    """Cell → its runs that are done, in the order of the matrix."""
    outcomes: dict[str, list[Outcome]]
    """The same runs, target by target."""
    table: pl.DataFrame
    """`fsvae.evaluation.comparison`."""
    missing: list[str]
    """The runs that are not done."""

    @property
    def reference(self) -> str:
        """Return the cell that the others are compared with."""
        return str(self.record["reference"])

    @property
    def one_space(self) -> bool:
        """Return whether distances of all cells are in the same track space."""
        return len({outcome.dataset for outcomes in self.outcomes.values() for outcome in outcomes}) == 1

    @property
    def twins(self) -> list[tuple[str, str]]:
        """Return the pairs of cells that are the same model."""
        return twins(self.record)

    def row(self, cell: str, metric: str, of: str = "all") -> dict[str, Any]:
        """Return a cell's row of the comparison, on a slice."""
        wanted = (pl.col("model") == cell) & (pl.col("metric") == metric) & (pl.col("slice") == of)
        return self.table.row(by_predicate=wanted, named=True)


def twins(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of cells of a matrix that have the same runs, each with the first cell that has them."""
    first: dict[tuple[str, ...], str] = {}
    runs = {cell["name"]: tuple(trial["folder"] for trial in cell["trials"]) for cell in record["cells"]}
    named = [(cell, first.setdefault(of_cell, cell)) for cell, of_cell in runs.items()]
    return [(cell, same) for cell, same in named if cell != same]


def find_matrix(matrices: Path, name: str, period: str = "") -> Path:
    """Return the folder of the matrix that was run last, of those with a name and a period if these are not empty.

    Raises:
        UserError: there is none.
    """
    records = {path.parent: Folder.at(path.parent).read_json(RECORD) for path in matrices.glob(f"*/{RECORD}")}
    found = {
        folder: record["at"]
        for folder, record in records.items()
        if name in ("", record["name"]) and period in ("", record["period"])
    }
    if not found:
        known = sorted({f"{record['name']} ({record['period']})" for record in records.values()})
        names = {record["name"] for record in records.values()}
        what = " ".join(filter(None, ["no matrix", name, f"on the {period} period" if period else ""]))
        there = f", only {', '.join(known)}." if known else "."
        hint = "" if name in names else nearest(name, sorted(names))
        command = f"fsvae ablate ablation={name or 'paper'}" + (f" evaluate.period={period}" if period else "")
        raise UserError(f"{matrices}: {what} there{there}{hint} Run one: {command}.")
    return max(found, key=found.__getitem__)


def read_results(folder: Path, cells: Path, datasets: Folder) -> Results:
    """Return the results of a matrix, as far as it is done.

    Raises:
        UserError: no run of the reference is done, or its dataset is no more there.
    """
    record = Folder.at(folder).read_json(RECORD)
    trials: dict[str, list[StoredTrial]] = {}
    missing = []
    for cell in record["cells"]:
        for trial in cell["trials"]:
            stored = StoredTrial(cells / trial["folder"], record["period"])
            if stored.done:
                trials.setdefault(cell["name"], []).append(stored)
            else:
                missing.append(f"{cell['name']}, seed {trial['seed']}")
    reference = record["reference"]
    if reference not in trials:
        raise UserError(f"{folder}: no run of the reference, {reference}, is done yet. Go on: {record['command']}")
    (of_reference,) = (cell["dataset"] for cell in record["cells"] if cell["name"] == reference)
    dataset = _dataset(datasets, of_reference)
    outcomes = {cell: [stored.outcome(cell) for stored in of_cell] for cell, of_cell in trials.items()}
    return Results(folder, record, dataset, trials, outcomes, comparison(outcomes, reference, dataset), missing)


def _dataset(datasets: Folder, name: str) -> PreparedDataset:
    for where in (datasets, datasets / FOLDER):
        if (where / name).exists("manifest.json"):
            return open_dataset(where / name)
    raise UserError(f"{datasets / name}: the dataset of the matrix is no more there. Run it on the present one.")
