"""Running a matrix: only the trials that neither another matrix nor an earlier, interrupted run has done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsvae.errors import UserError
from fsvae.files import fingerprint
from fsvae.storage import Folder
from pipelines.ablation.matrix import Matrix
from pipelines.ablation.recommenders import is_live, is_random, refits
from pipelines.ablation.variant import DONE, Ended, Trial, run_trial
from pipelines.runtime.engine import Engine
from pipelines.runtime.locks import held, is_held
from pipelines.tracking import git_commit

RECORD = "matrix.json"


@dataclass(frozen=True)
class Plan:
    """A matrix on its datasets: its trials, and the folder of its results."""

    matrix: Matrix
    trials: dict[str, list[Trial]]
    """Variant → one trial for each seed, or a single one where nothing is random."""
    folder: Path
    """Folder of the record and reports of the whole matrix."""

    @property
    def to_run(self) -> list[Trial]:
        """Return the trials, the first seed of every variant first, each once, as equal variants share theirs."""
        longest = max(map(len, self.trials.values()))
        ordered = (trials[place] for place in range(longest) for trials in self.trials.values() if place < len(trials))
        return list({trial.name: trial for trial in ordered}.values())

    @property
    def left(self) -> list[Trial]:
        """Return the trials that are not done at the moment, in the order of `to_run`."""
        return [trial for trial in self.to_run if not trial.stored.done]


def plan_of(matrix: Matrix, datasets: dict[str, Folder], variants: Path, matrices: Path) -> Plan:
    """Return the plan of a matrix.

    Args:
        matrix: the matrix.
        datasets: dataset of each variant.
        variants: folder of all trials.
        matrices: folder of all matrices.
    """
    seeds, period = matrix.config.seeds, matrix.config.evaluate.period
    trials = {
        variant.name: [
            Trial(variant.config, seed, datasets[variant.name], variants)
            for seed in (seeds if is_random(variant.config.recommender) else seeds[:1])
        ]
        for variant in matrix.variants
    }
    made_of = [
        {name: [trial.name for trial in of_variant] for name, of_variant in trials.items()},
        matrix.reference,
        period,
        *(["live"] if matrix.config.evaluate.live else []),
    ]
    return Plan(matrix, trials, matrices / f"{matrix.name}-{fingerprint(made_of)[:8]}")


def write_plan(plan: Plan) -> dict[str, Any]:
    """Write the record of a matrix, for its reports, and return it; the last one written is the latest matrix."""
    matrix = plan.matrix
    record = {
        "name": matrix.name,
        "title": matrix.config.ablation.title,
        "reference": matrix.reference,
        "period": matrix.config.evaluate.period,
        "command": matrix.command,
        "git_commit": git_commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "variants": [
            {
                "name": variant.name,
                "settings": variant.settings,
                "dataset": plan.trials[variant.name][0].dataset.name,
                "refit": refits(variant.config),
                "live": is_live(variant.config),
                "trials": [{"seed": trial.seed, "folder": trial.name} for trial in plan.trials[variant.name]],
            }
            for variant in matrix.variants
        ],
    }
    Folder.at(plan.folder).write_json(RECORD, record)
    return record


def records(matrices: Path) -> dict[Path, dict[str, Any]]:
    """Return the record of each matrix (`write_plan`), by its folder."""
    return {path.parent: Folder.at(path.parent).read_json(RECORD) for path in matrices.glob(f"*/{RECORD}")}


def delete_old_trials(matrices: Path, variants: Path, keep: int, tuned: Collection[str] = ()) -> int:
    """Delete the trials that belong to none of the newest matrices and to no tuning, and return their number.

    A matrix that is being run keeps its trials, however old it is, and a trial that is being run is kept.

    Args:
        matrices: folder of all matrices.
        variants: folder of all trials.
        keep: number of the newest matrices.
        tuned: names of the trials that belong to tunings.
    """
    found = records(matrices)
    newest = sorted(found, key=lambda folder: str(found[folder]["at"]), reverse=True)
    kept = {
        trial["folder"]
        for place, folder in enumerate(newest)
        if place < keep or is_held(folder)
        for variant in found[folder]["variants"]
        for trial in variant["trials"]
    }
    deleted = 0
    for folder in sorted(variants.glob("*/")):
        if folder.name not in kept and folder.name not in tuned:
            with suppress(UserError), held(folder, "clean-up"):
                for done in folder.glob(f"*/{DONE}"):
                    done.unlink()  # first, so that a half-deleted trial does not count
                shutil.rmtree(folder)
                deleted += 1
    return deleted


def run_plan(plan: Plan, engine: Engine, on_end: Callable[[Trial, Ended], None]) -> None:
    """Run the missing trials of a matrix; `on_end` is called in this process as soon as a trial has ended."""
    waiting = plan.left
    for place, ended in engine.as_they_come(run_trial, waiting):
        on_end(waiting[place], ended)
