"""The models of variants, by the value of `recommender` in their configurations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save

from fsvae.baselines.registry import MODELS
from fsvae.baselines.settings import NoSettings
from fsvae.data.dataset import Dataset
from fsvae.models.predict import NetworkPredictor
from fsvae.models.refit import trained
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import untrained
from fsvae.predictions import Predictor
from fsvae.recommender import Recommender
from fsvae.results_version import RESULTS_VERSION
from fsvae.storage import Folder
from pipelines.config.schema import Config


def is_random(recommender: str) -> bool:
    """Return whether a model depends on the seed."""
    return MODELS[recommender].neural


def refits(config: Config) -> bool:
    """Return whether a model learns from the validation period too: not where it is evaluated on it."""
    return config.train.refit and config.evaluate.period == "test"


def is_live(config: Config) -> bool:
    """Return whether a model is evaluated live, too: one with a memory, where `evaluate.live` says so."""
    return config.evaluate.live and config.recommender == "fsvae" and config.model.has_memory


def made_of(config: Config, seed: int) -> dict[str, Any]:
    """Return the inputs of a fitted model, except the dataset, as JSON values."""
    what = {
        "results_version": RESULTS_VERSION,
        "recommender": config.recommender,
        "config": asdict(_settings(config)),
        "refit": refits(config),
    }
    if not is_random(config.recommender):
        return what
    return {**what, "train": asdict(_training(config)), "seed": seed}


def _training(config: Config) -> TrainConfig:
    return replace(config.train, refit=refits(config))


def _settings(config: Config) -> Any:
    if config.recommender == "fsvae":
        return config.model
    return getattr(config.baselines, config.recommender, NoSettings())


def make_recommender(
    config: Config,
    dataset: Dataset,
    seed: int,
    folder: Path,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
    on_refit: Callable[[int], None] = lambda epochs: None,
    max_batches: int | None = None,
) -> Predictor:
    """Return the configured model, fitted; an interrupted training is resumed, and a trained network is loaded.

    Args:
        config: configuration whose `recommender` names the model.
        dataset: dataset to learn from.
        seed: seed of a network's weights, order and noise.
        folder: folder of a network's checkpoints during training, and of its weights (safetensors) afterwards.
        on_epoch: called with an epoch (from 1) of a fit and its metrics.
        on_refit: called before anything learns from the validation period (`fsvae.models.refit.trained`).
        max_batches: number of batches of each epoch's training and validation; all by default.

    Raises:
        KeyboardInterrupt: Ctrl-C during training.
        UserError: the dataset has nothing to learn from.
    """
    entry = MODELS[config.recommender]
    if not entry.neural:
        recommender: Recommender = entry.load()(_settings(config))
        return recommender.fit(dataset, refit=refits(config))
    what = (entry.load(), dataset, _settings(config))
    weights, checkpoints = folder / "model.safetensors", folder / "checkpoints"
    if weights.exists():
        network = untrained(*what, seed)
        load_model(network, weights)
    else:
        network = trained(
            *what,
            _training(config),
            seed,
            checkpoints,
            on_epoch=on_epoch,
            on_refit=on_refit,
            max_batches=max_batches,
        ).network
        Folder.at(folder).write(weights.name, save(network.cpu().state_dict()))
    shutil.rmtree(checkpoints, ignore_errors=True)
    return NetworkPredictor(network, validation_learned=refits(config))
