"""A fit of any network: Lightning with a checkpoint each epoch and bit-identical resumption."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.memory.supports import Supports
from fsvae.models.base import Network
from fsvae.models.module import TrainingModule
from fsvae.models.train_config import TrainConfig

N = TypeVar("N", bound=Network)


class Fitted(NamedTuple):
    """The outcome of a fit."""

    epochs: int
    """Number of passes over the training chunks, those after the best one included."""
    best_epoch: int
    """Epoch (from 1) whose weights the network has."""
    best: float
    """Criterion of the network in that epoch; NaN where nothing is validated."""


def check_targets(dataset: Dataset, *periods: str) -> None:
    """Refuse a dataset without targets in some periods, by default in that of training and that of validation.

    Raises:
        UserError: no listen of one of the periods is to a track of the catalogue.
    """
    for period in periods or ("train", "validation"):
        if not (dataset.listens.track[dataset.targets(period)] < dataset.n_catalogue).any():
            raise UserError(
                f"No listen of the {period} period is to a track of the catalogue. Prepare with more listens, a lower "
                "dataset.min_count, or other periods."
            )


def untrained(network: type[N], dataset: Dataset, config: Any, seed: int) -> N:
    """Return a network for a dataset, with weights drawn from a seed.

    Args:
        network: class of the network.
        dataset: dataset to learn from.
        config: settings of the network.
        seed: seed of the weights.

    Raises:
        UserError: the dataset has nothing to learn from; raised before a network is normalised by it.
    """
    check_targets(dataset, "train")
    torch.manual_seed(seed)
    return network.for_dataset(dataset, config)


def fit(
    network: Network,
    dataset: Dataset,
    config: TrainConfig,
    seed: int,
    folder: Path,
    *,
    memory: Supports | None = None,
    validated: bool = True,
    logger: Logger | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
    on_resume: Callable[[int], None] = lambda epoch: None,
    show_progress: bool = False,
    max_batches: int | None = None,
) -> Fitted:
    """Fit a network once, from the start or the folder's last checkpoint.

    It is left with the weights of its best epoch on the validation period. Without validation all `config.max_epochs`
    epochs are trained, and it has those of the last one.

    Args:
        network: network to fit; the caller seeds torch before building it.
        dataset: dataset to learn from.
        config: settings of the training.
        seed: seed of the order and the noise.
        folder: folder of the checkpoints, `last.ckpt` and, with validation, `best.ckpt`.
        memory: what the memory held before each listen, for networks with one.
        validated: whether the validation period chooses the epoch and ends the training.
        logger: Lightning's logger.
        on_epoch: called with the epoch (from 1) and its metrics.
        on_resume: called with the epoch (from 1) from which an interrupted run resumes.
        show_progress: draw a progress bar.
        max_batches: number of batches of each epoch's training and validation; all by default.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how far the run is.
        UserError: the dataset has nothing to learn from.
    """
    check_targets(dataset, *(("train", "validation") if validated else ("train",)))
    assert (memory is not None) == network.has_memory, "a network with a memory is given what it held"
    _hush()
    module = TrainingModule(network, config.optimiser, seed)
    resume = folder / "last.ckpt"
    monitor = f"val/{network.criterion}"
    best = ModelCheckpoint(folder, filename="best", monitor=monitor, enable_version_counter=False)
    callbacks = [
        *([_Patience(monitor, config.patience), best] if validated else []),
        ModelCheckpoint(folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
        _Epochs(on_epoch, on_resume if resume.exists() else None),
    ]
    callbacks += [LearningRateMonitor("step")] if logger else []
    callbacks += [RichProgressBar(leave=False)] if show_progress else []
    cuda = torch.cuda.is_available()
    trainer = pl.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision=_precision(config.precision, cuda),
        max_epochs=config.max_epochs,
        limit_train_batches=max_batches,
        limit_val_batches=max_batches if validated else 0,
        gradient_clip_val=config.gradient_clip,
        callbacks=callbacks,
        logger=logger or False,
        enable_progress_bar=show_progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        plugins=[_WholeCheckpoints()],
    )
    data = ChunkDataModule(dataset, network.history, config.batch_listens, seed, config.num_workers, memory)
    try:
        # Lightning's own checkpoint loader is told to read tensors and plain values only.
        trainer.fit(module, data, ckpt_path=resume if resume.exists() else None, weights_only=True)
    except SystemExit as ending:  # Lightning turns Ctrl-C into this, and ignores every later one
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt(_how_far(resume, validated)) from ending
    kept = torch.load(folder / "best.ckpt" if validated else resume, weights_only=True, map_location="cpu")
    module.load_state_dict(kept["state_dict"])
    return Fitted(trainer.current_epoch, kept["epoch"] + 1, float(best.best_model_score or float("nan")))


class _Epochs(Callback):
    """A callback that reports each epoch, and the one from which an interrupted fit resumes."""

    def __init__(
        self, on_epoch: Callable[[int, dict[str, float]], None], on_resume: Callable[[int], None] | None
    ) -> None:
        self._on_epoch = on_epoch
        self._on_resume = on_resume

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._on_resume and not trainer.should_stop:
            self._on_resume(trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The logged training metrics are still those of the epoch before.
        measured = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        assert isinstance(pl_module, TrainingModule)
        self._on_epoch(trainer.current_epoch + 1, measured | pl_module.epoch_means())


class _Patience(EarlyStopping):
    """Early stopping that also holds for a run killed after it had stopped, which checkpoints do not record."""

    def __init__(self, monitor: str, epochs: int) -> None:
        super().__init__(monitor, patience=epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= max(self.patience, 1)


class _WholeCheckpoints(TorchCheckpointIO):
    """Checkpoint files that appear in one step; Lightning's own copies them where /tmp is another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        temporary = Path(f"{path}.tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _hush() -> None:
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of a torch API
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # that is resuming
    warnings.filterwarnings("ignore", message="The number of training batches")  # a small log logs each epoch only


def _precision(precision: str, cuda: bool) -> Any:
    if precision != "auto":
        return precision
    return "bf16-mixed" if cuda else "32-true"


def _how_far(last: Path, validated: bool) -> str:
    which = "" if validated else " on training and validation together"
    if not last.exists():
        return f"interrupted in the first epoch{which}; the same command begins {'' if validated else 'it '}again"
    epoch = torch.load(last, weights_only=True, map_location="cpu")["epoch"] + 1
    return f"interrupted after epoch {epoch}{which}; the same command goes on from there"
