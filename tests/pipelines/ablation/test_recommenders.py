"""Every variant of every matrix of the project trains, for a few batches, and recommends."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_matrix import SMALL

from fsvae.baselines.registry import MODELS, BaselinesConfig
from fsvae.baselines.settings import NoSettings
from fsvae.data.dataset import Dataset
from pipelines.ablation.recommenders import is_random, made_of, make_recommender
from pipelines.config.compose import config_dir, load_config

HOUR_US = 3_600 * 10**6
FILES = [yaml.safe_load(path.read_text()) for path in sorted((config_dir() / "ablation").glob("*.yaml"))]
CELLS = {
    (*matrix["base"], *settings): name for matrix in FILES for name, settings in matrix["variants"].items()
}  # variants of the same settings once


@pytest.mark.parametrize("settings", CELLS, ids=CELLS.values())
def test_every_variant_trains_and_recommends(settings: tuple[str, ...], small_dataset: Dataset, tmp_path: Path) -> None:
    config = load_config([*SMALL, *settings, "train.max_epochs=1"])
    told: list[int] = []
    recommender = make_recommender(
        config, small_dataset, 1, tmp_path, lambda epoch, metrics: told.append(epoch), max_batches=2
    )
    assert told == ([1] if is_random(config.recommender) else [])
    last = int(small_dataset.listens.played_at.max())
    first = next(iter(recommender.predict(small_dataset, last - HOUR_US, last + 1)))
    assert np.isfinite(first.vectors).all() and len(first.targets) == len(first.vectors) > 0


def test_a_trained_network_is_loaded_and_says_the_same(small_dataset: Dataset, tmp_path: Path) -> None:
    config = load_config(["recommender=gru4rec", "baselines.gru4rec.history=16", *SMALL])
    span = small_dataset.period("test")
    trained = make_recommender(config, small_dataset, 1, tmp_path, max_batches=2)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]  # no checkpoints are left
    told: list[int] = []
    loaded = make_recommender(config, small_dataset, 1, tmp_path, lambda epoch, metrics: told.append(epoch))
    assert told == []
    for one, other in zip(trained.predict(small_dataset, *span), loaded.predict(small_dataset, *span), strict=True):
        assert np.array_equal(one.vectors, other.vectors)


def test_the_seed_makes_another_model_only_where_something_is_random() -> None:
    for name, entry in MODELS.items():
        config = load_config([f"recommender={name}"])
        assert (made_of(config, 1) != made_of(config, 2)) == is_random(name) == entry.neural


def test_every_baseline_with_settings_is_a_group_of_the_configuration() -> None:
    config = BaselinesConfig()
    kinds = {name: entry.settings for name, entry in MODELS.items() if entry.settings is not NoSettings}
    del kinds["fsvae"]  # whose group is `model`
    assert {field.name: type(getattr(config, field.name)) for field in fields(config)} == kinds
