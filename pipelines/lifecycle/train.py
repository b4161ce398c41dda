"""Train: a prepared dataset → a bundle, checkpointed every epoch and resumed where it stopped.

With `train.refit` the model learns from the validation period, too (`fsvae.models.refit`).

A run's folder is named by its inputs (dataset, model, training config, seed, RESULTS_VERSION). Repeating the command
resumes from the last checkpoint, or finds the finished run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fsvae.bundle import save_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.files import fingerprint
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.refit import trained
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import check_targets
from fsvae.results_version import RESULTS_VERSION
from fsvae.storage import Folder
from pipelines.reports.words import count
from pipelines.runtime.locks import held
from pipelines.runtime.watch import Summary
from pipelines.tracking import Tracker, git_commit

_NAMED = 5
"""Number of runs that the message on an unknown run names."""


@dataclass(frozen=True)
class Run(Summary):
    """A finished training run."""

    folder: Path
    run_id: str
    """MLflow's id of the run."""
    epochs: int
    """Number of epochs of the first fit."""
    version: int
    """Version of the registered model."""
    refit_epochs: int = 0
    """Number of epochs of the second fit, on training and validation together; 0: there was none."""
    reused: bool = field(default=False, compare=False)
    """Whether it was finished before."""
    verb = "train"

    def lines(self) -> list[str]:
        """Return the number of epochs, the version and the path of the bundle."""
        before = ["trained before"] if self.reused else []
        then = f", then {self.refit_epochs} on training and validation together" if self.refit_epochs else ""
        return [*before, f"{count(self.epochs, 'epoch')}{then}; registered as version {self.version} → {self.bundle}"]

    @property
    def bundle(self) -> Path:
        """Return the folder of the run's bundle."""
        return self.folder / "bundle"


def train(
    dataset: Dataset,
    model_config: ModelConfig,
    config: TrainConfig,
    seed: int,
    runs: Path,
    tracker: Tracker,
    on_epoch: Callable[[int, dict[str, float]], None],
    show_progress: bool,
    on_resume: Callable[[int], None] = lambda epoch: None,
    on_refit: Callable[[int], None] = lambda epochs: None,
) -> Run:
    """Train a model, log the run, write and register its bundle; a finished run is returned unchanged.

    A finished run that the tracker does not know, because its store is new, is registered there.

    Args:
        dataset: dataset to learn from.
        model_config: settings of the model.
        config: settings of the training.
        seed: seed of the weights, the order and the noise.
        runs: folder of all runs.
        tracker: tracker that logs and registers the run.
        on_epoch: called with the epoch (from 1) of a fit and its metrics.
        show_progress: draw a progress bar.
        on_resume: called with the epoch (from 1) from which an interrupted fit resumes.
        on_refit: called before anything learns from the validation period (`fsvae.models.refit.trained`).

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how far the run is.
        UserError: the same run is being trained by another process, or the dataset has nothing to learn from.
    """
    made_of = _made_of(dataset, model_config, config, seed)
    folder = runs / fingerprint(made_of)
    with held(folder, "training of this very run"):
        reused = (folder / "run.json").exists()
        if not reused:
            check_targets(dataset)  # before the run is recorded
            run_id = _run_id(folder, tracker, dataset, made_of)

            def logger_of(prefix: str) -> Any:
                tracker.resume(run_id)  # the first fit's logger has ended it
                return tracker.lightning_logger(run_id, prefix)

            found = trained(
                FSVAENetwork,
                dataset,
                model_config,
                config,
                seed,
                folder / "checkpoints",
                logger_of=logger_of,
                on_epoch=on_epoch,
                on_refit=on_refit,
                on_resume=on_resume,
                show_progress=show_progress,
            )
            measured = {f"val_{found.network.criterion}": found.best}
            info = {"git_commit": git_commit(), "seed": seed, "run_id": run_id, **measured}
            save_bundle(folder / "bundle", found.network, found.dataset, info)
            _record(folder, tracker, run_id, found.epochs, found.refit_epochs)
        elif tracker.version_of((run := open_run(runs, folder.name)).run_id) is None:
            _record(folder, tracker, _run_id(folder, tracker, dataset, made_of), run.epochs, run.refit_epochs)
        Folder.at(runs).write_json("latest.json", {"run": folder.name})
        return replace(open_run(runs, folder.name), reused=reused)


def is_trained(dataset: Dataset, model_config: ModelConfig, config: TrainConfig, seed: int, runs: Path) -> bool:
    """Return whether `train` would find the run finished."""
    return (runs / run_name(dataset, model_config, config, seed) / "run.json").exists()


def run_name(dataset: Dataset, model_config: ModelConfig, config: TrainConfig, seed: int) -> str:
    """Return the name of the run's folder."""
    return fingerprint(_made_of(dataset, model_config, config, seed))


def _made_of(dataset: Dataset, model_config: ModelConfig, config: TrainConfig, seed: int) -> dict[str, Any]:
    return {
        "results_version": RESULTS_VERSION,
        "dataset": dataset.fingerprint,
        "model": asdict(model_config),
        "train": asdict(config),
        "seed": seed,
    }


def open_run(runs: Path, name: str = "") -> Run:
    """Return a finished run by its folder's name, or the one that was trained last.

    Raises:
        UserError: there is no such run, or it is not finished.
    """
    if not name:
        if not (runs / "latest.json").exists():
            raise UserError(f"{runs}: no trained model there. Train one: fsvae train.")
        name = json.loads((runs / "latest.json").read_text())["run"]
    result = runs / name / "run.json"
    if not (runs / name).is_dir():
        newest = sorted(runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        there = ", ".join(path.parent.name for path in newest[:_NAMED]) or "none: fsvae train makes one"
        raise UserError(f"{runs}: no run {name} there. Finished ones, the newest first: {there}. See also: fsvae runs.")
    if not result.exists():
        raise UserError(f"{runs / name}: no finished run there. Train it: fsvae train.")
    return Run(folder=runs / name, **json.loads(result.read_text()))


def _record(folder: Path, tracker: Tracker, run_id: str, epochs: int, refit_epochs: int) -> None:
    """Register a run's bundle, and record that the run is finished."""
    version = tracker.register(run_id, folder / "bundle")
    tracker.finish(run_id)
    facts = {"run_id": run_id, "epochs": epochs, "version": version, "refit_epochs": refit_epochs}
    Folder.at(folder).write_json("run.json", facts)


def _run_id(folder: Path, tracker: Tracker, dataset: Dataset, made_of: dict[str, Any]) -> str:
    """Return the run's MLflow id; a resumed run keeps its id as long as the store knows it."""
    stored = folder / "mlflow.json"
    if stored.exists():
        run_id = str(json.loads(stored.read_text())["run_id"])
        if tracker.resume(run_id):
            return run_id
    run_id = tracker.start(
        folder.name, {**made_of, "dataset_manifest": dataset.fingerprint, "git_commit": git_commit()}
    )
    Folder.at(folder).write_json(stored.name, {"run_id": run_id})
    return run_id
