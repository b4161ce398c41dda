"""Which values of the configuration are possible, beyond their types."""

from __future__ import annotations

from dataclasses import asdict
from functools import reduce
from typing import Any

from fsvae.baselines import BASELINES
from fsvae.baselines.neural import NETWORKS
from fsvae.errors import UserError, nearest
from fsvae.evaluation.result import RANKING_METRICS
from fsvae.models.model_config import CHOICES as MODEL_CHOICES
from fsvae.schema import KINDS
from pipelines.runtime.engine import ENGINES

_MANY = 10**9
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "source.max_reject_share": (0, 1),
    "engine.workers": (0, 10_000),
    "dataset.min_count": (1, _MANY),
    "dataset.train_share": (0, 1),
    "dataset.validation_share": (0, 1),
    "dataset.keep": (1, _MANY),
    "ablation.keep": (1, _MANY),
    "dataset.track2vec.dim": (1, 10_000),
    "dataset.track2vec.epochs": (1, 10_000),
    "dataset.track2vec.window": (1, 1_000),
    "dataset.track2vec.negative": (1, 1_000),
    "dataset.track2vec.ns_exponent": (-2, 2),
    "dataset.track2vec.sample": (0, 1),
    "model.history": (1, 100_000),
    "model.target_share": (0.001, 1),
    "model.slow_hidden": (1, 100_000),
    "model.slow_dim": (1, 100_000),
    "model.fast_hidden": (1, 100_000),
    "model.fast_layers": (1, 100),
    "model.latent_dim": (1, 100_000),
    "model.decoder_hidden": (1, 100_000),
    "model.softmax_weight": (0, _MANY),
    "model.softmax_tracks": (2, _MANY),
    "model.repeat_dim": (1, 100_000),
    "model.beta": (0, _MANY),
    "model.beta_warmup_epochs": (0, _MANY),
    "model.free_bits": (0, _MANY),
    "model.initial_log_variance": (-12, 12),
    "model.slow_dropout": (0, 1),
    "model.fast_dropout": (0, 1),
    "train.max_epochs": (1, 1_000_000),
    "train.patience": (0, _MANY),
    "train.batch_listens": (1, _MANY),
    "train.gradient_clip": (0, _MANY),
    "train.num_workers": (0, 1_000),
    "train.optimiser.learning_rate": (1e-12, 1e3),
    "train.optimiser.weight_decay": (0, 1e3),
    "train.optimiser.warmup_share": (0, 1),
    "train.optimiser.final_share": (0, 1),
    "serve.port": (0, 65_535),
    "serve.replicas": (1, 10_000),
    "serve.num_cpus": (1, 100_000),
    "serve.approximate_from": (1, 10**12),
    "serve.version": (0, _MANY),
}
_SHARE, _SIZE, _WEIGHT, _HALF_LIFE = (0.0, 1.0), (1.0, 1e6), (0.0, 1e9), (1e-6, 1e9)
_OF_BASELINES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("window", "neighbours", "sample", "session_length", "history", "hidden", "slow_hidden"), _SIZE),
    **dict.fromkeys(("latent_dim", "layers", "blocks", "heads", "feedforward"), _SIZE),
    **dict.fromkeys(("half_life", "half_life_days", "transition_half_life", "frequency_half_life"), _HALF_LIFE),
    **dict.fromkeys(("global_weight", "personal_weight", "pair_weight", "frequency_weight", "shrinkage"), _WEIGHT),
    **dict.fromkeys(("softmax_weight", "beta", "beta_warmup_epochs"), _WEIGHT),
    "decoder_hidden": (0, 1e6),
    "softmax_tracks": (2, _MANY),
    "initial_log_variance": (-12, 12),
    "dropout": _SHARE,
}
"""By the name of the setting, whichever baseline has it."""
_CHOICES: dict[str, tuple[str, ...]] = {
    "recommender": (*NETWORKS, *BASELINES),
    "baselines.item_knn.together": ("session", "user"),
    "source.time_unit": ("iso", "s", "ms", "us"),
    "engine.name": tuple(ENGINES),
    **{f"baselines.{name}.track_table": MODEL_CHOICES["track_table"] for name in NETWORKS if name != "fsvae"},
    **{f"model.{name}": words for name, words in MODEL_CHOICES.items()},
    "evaluate.period": ("test", "validation"),
    "promote.metric": RANKING_METRICS,
    "train.precision": ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"),
}


def check_ranges(config: Any) -> None:
    """Refuse values that cannot be, by their key.

    Raises:
        UserError: a number is outside its range (NaN is outside of all), a word is not one of the choices,
            or two values do not go together.
    """
    for key, (low, high) in _RANGES.items():
        value = reduce(getattr, key.split("."), config)
        if not low <= value <= high:
            raise UserError(f"{key}={value} is not between {low} and {high}.")
    for name, settings in asdict(config.baselines).items():
        for setting, value in settings.items():
            if isinstance(value, str):
                continue
            low, high = _OF_BASELINES[setting]
            if not low <= value <= high:
                raise UserError(f"baselines.{name}.{setting}={value} is not between {low:g} and {high:g}.")
    for key, choices in _CHOICES.items():
        value = reduce(getattr, key.split("."), config)
        if value not in choices:
            raise UserError(f"{key}={value} is not one of {', '.join(choices)}.{nearest(str(value), choices)}")
    config.model.check()
    if config.recommender == "sasrec":
        config.baselines.sasrec.check()
    seeds, (low, high) = config.seeds, _RANGES["seed"]
    if not seeds or len(set(seeds)) < len(seeds) or not all(low <= seed <= high for seed in seeds):
        raise UserError(f"seeds={seeds}: give one or more different numbers from {low} to {high}, such as [1,2,3].")
    for word, kind in config.source.kinds.items():
        if kind not in KINDS:
            raise UserError(f"source.kinds.{word}={kind} is not one of {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    shares = config.dataset.train_share + config.dataset.validation_share
    if not config.dataset.train_until and shares >= 1:
        raise UserError(f"dataset.train_share + dataset.validation_share is {shares:g}: nothing is left to test on.")
