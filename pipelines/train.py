"""Train: a prepared dataset → a bundle, checkpointed every epoch and resumed where it stopped.

A run's folder is named by what it is made of (dataset, model, training config, seed). The same command again goes on
from the last checkpoint, or finds the finished run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsvae.bundle import save_bundle
from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.models.fsvae import FSVAE, ModelConfig
from fsvae.models.module import OptimiserConfig, TrainingModule
from fsvae.storage import Folder
from pipelines.files import fingerprint
from pipelines.locks import held
from pipelines.tracking import Tracker, git_commit


@dataclass
class TrainConfig:
    """How the model is trained."""

    max_epochs: int = 12
    """Passes over the training chunks, at most."""
    patience: int = 4
    """Epochs without a better val/l2 after which training stops."""
    batch_size: int = 16
    """Chunks (of up to 2 L listens) in a batch."""
    gradient_clip: float = 1.0
    """Longest gradient, by L2 norm."""
    num_workers: int = 0
    """Processes that gather batches; 0: the training process does."""
    precision: str = "auto"
    """Lightning's precision; auto: bf16-mixed on a GPU, 32-true on a CPU."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    run_id: str
    """MLflow's."""
    epochs: int
    version: int
    """Of the registered model."""

    @property
    def bundle(self) -> Path:
        """Return the folder of the run's bundle."""
        return self.folder / "bundle"


_NORMALISED_BY = 100_000
"""Slow features are normalised by the mean and deviation of at most so many snapshots, drawn by chance."""


def build_model(dataset: PreparedDataset, config: ModelConfig) -> FSVAE:
    """Return an untrained model for a dataset; slow features are normalised by the training period's snapshots."""
    rows = np.unique(dataset.slow_row[dataset.listens.played_at < dataset.period("train")[1]])
    if len(rows) > _NORMALISED_BY:
        rows = np.sort(np.random.default_rng(0).choice(rows, _NORMALISED_BY, replace=False))
    slow = torch.from_numpy(dataset.snapshots.features(rows))
    slow = slow[slow[:, 0] > 0] if bool((slow[:, 0] > 0).any()) else slow
    std = slow.std(dim=0, unbiased=False)
    std[std < 1e-6] = 1.0
    return FSVAE(config, torch.from_numpy(dataset.vectors), slow.mean(dim=0), std, dataset.n_catalogue)


def train(
    dataset: PreparedDataset,
    model_config: ModelConfig,
    config: TrainConfig,
    seed: int,
    runs: Path,
    tracker: Tracker,
    on_epoch: Callable[[int, dict[str, float]], None],
    show_progress: bool,
    on_resume: Callable[[int], None] = lambda epoch: None,
) -> Run:
    """Train a model, log the run, write and register its bundle; a run that is finished is returned as it is.

    A finished run that the tracker does not know, as its store is a new one, is registered there.

    Args:
        dataset: what to learn from.
        model_config: the model.
        config: the training.
        seed: of the weights, the order and the noise.
        runs: folder of all runs.
        tracker: where to log and register.
        on_epoch: called with the epoch (from 1) and its metrics.
        show_progress: draw a progress bar.
        on_resume: called with the epoch (from 1) from which an interrupted run goes on.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how far the run is.
        UserError: the same run is being trained by another process, or the dataset has nothing to learn from.
    """
    made_of = _made_of(dataset, model_config, config, seed)
    folder = runs / fingerprint(made_of)
    with held(folder, "training of this very run"):
        result = folder / "run.json"
        if not result.exists():
            _check_targets(dataset)
            run_id = _run_id(folder, tracker, dataset, made_of)
            epochs = _train(
                dataset, model_config, config, seed, folder, tracker, on_epoch, show_progress, run_id, on_resume
            )
            _record(folder, tracker, run_id, epochs)
        elif tracker.version_of((run := open_run(runs, folder.name)).run_id) is None:
            _record(folder, tracker, _run_id(folder, tracker, dataset, made_of), run.epochs)
        Folder.at(runs).write_json("latest.json", {"run": folder.name})
        return open_run(runs, folder.name)


def is_trained(dataset: PreparedDataset, model_config: ModelConfig, config: TrainConfig, seed: int, runs: Path) -> bool:
    """Return whether `train` would find the run finished."""
    return (runs / fingerprint(_made_of(dataset, model_config, config, seed)) / "run.json").exists()


def _made_of(dataset: PreparedDataset, model_config: ModelConfig, config: TrainConfig, seed: int) -> dict[str, Any]:
    return {"dataset": dataset.fingerprint, "model": asdict(model_config), "train": asdict(config), "seed": seed}


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
    if not result.exists():
        raise UserError(f"{runs / name}: no finished run there. Train it: fsvae train.")
    return Run(folder=runs / name, **json.loads(result.read_text()))


def _check_targets(dataset: PreparedDataset) -> None:
    for period in ("train", "validation"):
        if not (dataset.listens.track[dataset.targets(period)] < dataset.n_catalogue).any():
            raise UserError(
                f"No listen of the {period} period is to a track of the catalogue. Prepare with more listens, a lower "
                "dataset.min_count, or other periods."
            )


def _train(
    dataset: PreparedDataset,
    model_config: ModelConfig,
    config: TrainConfig,
    seed: int,
    folder: Path,
    tracker: Tracker,
    on_epoch: Callable[[int, dict[str, float]], None],
    show_progress: bool,
    run_id: str,
    on_resume: Callable[[int], None],
) -> int:
    """Train from the start or the last checkpoint, write the bundle, and return the number of epochs."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import (
        Callback,
        EarlyStopping,
        LearningRateMonitor,
        ModelCheckpoint,
        RichProgressBar,
    )
    from pytorch_lightning.plugins.io import TorchCheckpointIO

    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of a torch API
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # that is resuming
    torch.manual_seed(seed)
    model = build_model(dataset, model_config)
    module = TrainingModule(model, config.optimiser, seed)
    data = ChunkDataModule(dataset, model_config.history, config.batch_size, seed, config.num_workers)

    class Epochs(Callback):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if not trainer.sanity_checking:
                on_epoch(trainer.current_epoch + 1, {k: float(v) for k, v in trainer.callback_metrics.items()})

    class Patience(EarlyStopping):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            """Stop again at once where the run was killed after it had stopped; checkpoints do not say that."""
            trainer.should_stop = self.wait_count >= max(self.patience, 1)
            if resume.exists() and not trainer.should_stop:
                on_resume(trainer.current_epoch + 1)

    class WholeCheckpoints(TorchCheckpointIO):
        def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
            """Put a checkpoint in place in one step; Lightning's own way copies it where /tmp is another disk."""
            temporary = Path(f"{path}.tmp")
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)

    checkpoints = folder / "checkpoints"
    resume = checkpoints / "last.ckpt"
    best = ModelCheckpoint(checkpoints, filename="best", monitor="val/l2", enable_version_counter=False)
    last = ModelCheckpoint(checkpoints, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
    bar = [RichProgressBar(leave=False)] if show_progress else []
    cuda = torch.cuda.is_available()
    trainer = pl.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision=_precision(config.precision, cuda),
        max_epochs=config.max_epochs,
        gradient_clip_val=config.gradient_clip,
        callbacks=[
            Patience("val/l2", patience=config.patience),
            LearningRateMonitor("step"),
            best,
            last,
            Epochs(),
            *bar,
        ],
        logger=tracker.lightning_logger(run_id),
        enable_progress_bar=show_progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        plugins=[WholeCheckpoints()],
    )
    try:
        # Lightning's own loader of checkpoints is told to read tensors and plain values only.
        trainer.fit(module, data, ckpt_path=resume if resume.exists() else None, weights_only=True)
    except SystemExit as ending:  # Lightning makes this of Ctrl-C, and has every later one ignored
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt(_how_far(resume)) from ending
    weights = torch.load(checkpoints / "best.ckpt", weights_only=True, map_location="cpu")["state_dict"]
    module.load_state_dict(weights)
    info = {"git_commit": git_commit(), "seed": seed, "val_l2": float(best.best_model_score or float("nan"))}
    save_bundle(folder / "bundle", model, dataset, info | {"run_id": run_id})
    return trainer.current_epoch


def _how_far(last: Path) -> str:
    if not last.exists():
        return "interrupted in the first epoch; the same command begins again"
    epoch = torch.load(last, weights_only=True, map_location="cpu")["epoch"] + 1
    return f"interrupted after epoch {epoch}; the same command goes on from there"


def _record(folder: Path, tracker: Tracker, run_id: str, epochs: int) -> None:
    """Register a run's bundle, and write down that the run is finished."""
    version = tracker.register(run_id, folder / "bundle")
    tracker.finish(run_id)
    Folder.at(folder).write_json("run.json", {"run_id": run_id, "epochs": epochs, "version": version})


def _run_id(folder: Path, tracker: Tracker, dataset: PreparedDataset, made_of: dict[str, Any]) -> str:
    """Return the run's MLflow id, the same one when it is resumed, as long as the store knows it."""
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


def _precision(precision: str, cuda: bool) -> Any:
    if precision != "auto":
        return precision
    return "bf16-mixed" if cuda else "32-true"
