"""Every model config, and every size, goes the whole way: prepare, train, bundle, evaluate, recommend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plain_model import PLAIN

from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.memory.supports import remember
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit
from fsvae.online_recommender import OnlineRecommender
from pipelines.config.compose import config_dir, load_config
from pipelines.lake.lake import Lake
from pipelines.lifecycle.evaluate import evaluate_bundle
from pipelines.prepare.prepare import DatasetConfig, prepare

NAMES = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))


def whole_way(dataset: Dataset, config: ModelConfig, folder: Path) -> None:
    torch.manual_seed(0)
    model = FSVAENetwork.for_dataset(dataset, config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory = remember(dataset).supports if model.has_memory else None
    fit(model, dataset, TrainConfig(max_epochs=1, batch_listens=32), 1, folder, memory=memory, max_batches=2)
    after = model.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert {"latent.mean.weight", "decoder.point.weight"} <= moved and "tracks" not in moved
    save_bundle(folder / "bundle", model, dataset, {})
    bundle = load_bundle(folder / "bundle")
    metrics = evaluate_bundle(bundle, dataset, "validation").metrics()
    assert 0 < metrics["l2"] < 9 and 0 < metrics["mrr"] < 1
    user_id = bundle.user_ids[0]
    endpoint = OnlineRecommender(bundle, approximate_from=1_000_000)
    answer = endpoint.next_tracks(user_id, [], k=5, at=endpoint.last_heard(user_id) or 0)
    assert len(answer.tracks) == 5 and all(np.isfinite(track.score) for track in answer.tracks)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_config(name: str, small_dataset: Dataset, tmp_path: Path) -> None:
    whole_way(small_dataset, load_config([f"model={name}"]).model, tmp_path)


@pytest.mark.parametrize(("dim", "history", "latent_dim"), [(8, 5, 3), (128, 100, 70)])
def test_sizes_are_free(dim: int, history: int, latent_dim: int, small_lake: Lake, tmp_path: Path) -> None:
    config = DatasetConfig(min_count=2, track2vec=Track2VecConfig(dim=dim, epochs=1))
    dataset = open_dataset(prepare(small_lake, config, seed=1, datasets=tmp_path / "datasets").folder)
    assert dataset.vectors.shape[1] == dim
    sizes = {"slow_hidden": 9, "slow_dim": 7, "fast_hidden": 11, "decoder_hidden": 10, "gate_hidden": 6}
    for switches in ({}, {"slow_memory": True, "softmax_weight": 2.0, "track_table": "finetuned", "prior": "slow"}):
        model = ModelConfig(history=history, latent_dim=latent_dim, **{**PLAIN, **sizes, **switches})  # type: ignore[arg-type]
        whole_way(dataset, model, tmp_path / str(len(switches)))
