"""The training of any network: a fit that finds the number of epochs, and one on training and validation together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pytorch_lightning.loggers import Logger

from fsvae.data.dataset import Dataset
from fsvae.models.base import Network
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit, untrained

N = TypeVar("N", bound=Network)


class Trained(NamedTuple, Generic[N]):
    """The outcome of a training."""

    network: N
    dataset: Dataset
    """Dataset that the network has learned from: of a second fit, `Dataset.with_validation_learned`."""
    epochs: int
    """Number of epochs of the first fit, those after the best one included."""
    best: float
    """Criterion of the first fit's network in its best epoch."""
    refit_epochs: int
    """Number of epochs of the second fit; 0: there was none."""


def trained(
    network: type[N],
    dataset: Dataset,
    settings: Any,
    config: TrainConfig,
    seed: int,
    folder: Path,
    *,
    logger_of: Callable[[str], Logger | None] = lambda prefix: None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
    on_refit: Callable[[int], None] = lambda epochs: None,
    on_resume: Callable[[int], None] = lambda epoch: None,
    show_progress: bool = False,
    max_batches: int | None = None,
) -> Trained[N]:
    """Train a network as `config` says; an interrupted training resumes in the fit and the epoch where it was.

    The first fit learns from the training period, and the validation period chooses its epoch. With `config.refit` a
    second one, of a network of the same seed, learns from both together for as many epochs, and its network is kept.

    Args:
        network: class of the network.
        dataset: dataset to learn from.
        settings: settings of the network.
        config: settings of the training.
        seed: seed of the weights, the order and the noise.
        folder: folder of the checkpoints; those of the second fit are in `refit/`.
        logger_of: returns Lightning's logger of a fit; its argument, a prefix of the names, is empty for the first fit.
        on_epoch: called with the epoch (from 1) of a fit and its metrics; the second fit has none of validation.
        on_refit: called with the number of epochs of the second fit, before it begins or resumes.
        on_resume: called with the epoch (from 1) from which an interrupted fit resumes.
        show_progress: draw a progress bar.
        max_batches: number of batches of each epoch's training and validation; all by default.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how far the training is.
        UserError: the dataset has nothing to learn from.
    """
    fit_once = partial(
        fit, on_epoch=on_epoch, on_resume=on_resume, show_progress=show_progress, max_batches=max_batches
    )
    first = untrained(network, dataset, settings, seed)
    found = fit_once(first, dataset, config, seed, folder, logger=logger_of(""), ranked=not config.refit)
    if not config.refit:
        return Trained(first, dataset, found.epochs, found.best, 0)
    on_refit(found.best_epoch)
    whole, as_long = dataset.with_validation_learned(), replace(config, max_epochs=found.best_epoch)
    second = untrained(network, whole, settings, seed)
    fit_once(second, whole, as_long, seed, folder / "refit", logger=logger_of("refit"), validated=False)
    return Trained(second, whole, found.epochs, found.best, found.best_epoch)
