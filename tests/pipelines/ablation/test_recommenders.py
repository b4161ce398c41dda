"""Every cell of every matrix of the project trains, for a few batches, and recommends."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from small_matrix import SMALL

from fsvae.baselines import BASELINES, NoSettings
from fsvae.baselines.networks import NETWORKS
from fsvae.data.dataset import PreparedDataset
from pipelines.ablation.baselines import BaselinesConfig
from pipelines.ablation.matrix import Cell, matrix_of
from pipelines.ablation.recommenders import RECOMMENDERS, is_random, made_of, make_recommender
from pipelines.config import config_dir, load_config

MATRICES = [matrix_of([f"ablation={path.stem}", *SMALL]) for path in (config_dir() / "ablation").glob("*.yaml")]
CELLS = {str(made_of(cell.config, 1)): cell for matrix in MATRICES for cell in matrix.cells}


@pytest.mark.parametrize("cell", CELLS.values(), ids=[cell.name for cell in CELLS.values()])
def test_every_cell_trains_and_recommends(cell: Cell, small_dataset: PreparedDataset, tmp_path: Path) -> None:
    told: list[int] = []
    recommender = make_recommender(
        cell.config, small_dataset, 1, tmp_path, lambda epoch, metrics: told.append(epoch), max_batches=2
    )
    assert told == ([1, 2] if is_random(cell.config.recommender) else [])
    begin, end = small_dataset.period("test")
    first = next(iter(recommender.predict(small_dataset, begin, end)))
    assert np.isfinite(first.vectors).all() and len(first.targets) == len(first.vectors) > 0


def test_a_trained_network_is_loaded_and_says_the_same(small_dataset: PreparedDataset, tmp_path: Path) -> None:
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
    for name in RECOMMENDERS:
        config = load_config([f"recommender={name}"])
        assert (made_of(config, 1) != made_of(config, 2)) == is_random(name) == (name in NETWORKS)


def test_every_baseline_with_settings_is_a_group_of_the_configuration() -> None:
    config = BaselinesConfig()
    kinds = {name: kind.config for name, kind in NETWORKS.items() if name != "fsvae"}
    kinds |= {name: kind.config_type for name, kind in BASELINES.items() if kind.config_type is not NoSettings}
    assert {field.name: type(getattr(config, field.name)) for field in fields(config)} == kinds
