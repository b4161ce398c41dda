"""The training of any network: a fit that finds the number of epochs, then what learns from the validation period."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pytorch_lightning.loggers import Logger

from fsvae.data.dataset import Dataset
from fsvae.memory.supports import BLOCKS, Remembered, block_begins, remember
from fsvae.models.base import Network
from fsvae.models.fit_gates import fit_gates
from fsvae.models.fit_ranker import fit_ranker
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit, untrained

N = TypeVar("N", bound=Network)


class Trained(NamedTuple, Generic[N]):
    """The outcome of a training."""

    network: N
    dataset: Dataset
    """Dataset that the network has learned from: `Dataset.with_validation_learned`, or the training period's."""
    epochs: int
    """Number of epochs of the first fit, those after the best one included."""
    best: float
    """Criterion of the first fit's network in its best epoch."""
    refit_epochs: int
    """Number of epochs of a second fit; 0: there was none."""

    @property
    def validation_learned(self) -> bool:
        """Return whether anything of the network has learned from the validation period."""
        return self.dataset.validation_learned


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

    The first fit learns from the training period, and the validation period chooses its epoch. What follows with
    `config.refit` learns from the validation period, too: of a network with a memory the gates and the ranker, which
    it was held back for; of any other a second network of the same seed, which learns from both periods together for
    as many epochs and is kept. Without it the ranker learns from the later half of the training period.

    Args:
        network: class of the network.
        dataset: dataset to learn from.
        settings: settings of the network.
        config: settings of the training.
        seed: seed of the weights, the order and the noise.
        folder: folder of the checkpoints; those of a second fit are in `refit/`.
        logger_of: returns Lightning's logger of a fit; its argument, a prefix of the names, is empty for the first fit.
        on_epoch: called with the epoch (from 1) of a fit and its metrics; the second fit has none of validation.
        on_refit: called before what learns from the validation period begins or resumes, with the number of epochs of
            a second fit; 0: there is none.
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
    remembered = _remembered(dataset, config.refit) if first.has_memory else None
    memory = None if remembered is None else remembered.supports
    found = fit_once(first, dataset, config, seed, folder, logger=logger_of(""), memory=memory)
    if remembered is not None:
        assert isinstance(first, FSVAENetwork), "no other network has a memory"
        if config.refit:
            on_refit(0)
        _fit_rest(first, dataset, remembered, config.refit, seed)
        learned = dataset.with_validation_learned() if config.refit else dataset
        return Trained(first, learned, found.epochs, found.best, 0)
    if not config.refit:
        return Trained(first, dataset, found.epochs, found.best, 0)
    on_refit(found.best_epoch)
    whole, as_long = dataset.with_validation_learned(), replace(config, max_epochs=found.best_epoch)
    second = untrained(network, whole, settings, seed)
    fit_once(second, whole, as_long, seed, folder / "refit", logger=logger_of("refit"), validated=False)
    return Trained(second, whole, found.epochs, found.best, found.best_epoch)


def _remembered(dataset: Dataset, refit: bool) -> Remembered:
    """Return what the memory held, with everybody's counts from where the ranker learns on."""
    until = dataset.period("train")[1]
    later = [] if refit else block_begins(dataset)[BLOCKS // 2 - 1 :]
    return remember(dataset, tables_from=min(later, default=until))


def _fit_rest(network: FSVAENetwork, dataset: Dataset, remembered: Remembered, refit: bool, seed: int) -> None:
    """Fit the gates and the ranker on the validation period, or the ranker alone on the later training period."""
    begin, end = dataset.period("validation") if refit else (remembered.tables[0][0], dataset.period("train")[1])
    if refit:
        fit_gates(network, dataset, remembered, begin, end, seed)
    elif network.ranker is not None:
        # A track outside the catalogue has few listens in the training period, or it would be inside. The ranker would
        # learn there that such tracks are not played, which keeps new ones out.
        network.ranker.ignore_catalogue()
    if network.ranker is not None:
        fit_ranker(network, dataset, remembered, begin, end, seed)
