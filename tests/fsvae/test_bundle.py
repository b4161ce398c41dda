"""A bundle gives back the model that went in, and refuses what is not one of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.models.fsvae import FSVAE
from fsvae.models.predict import NetworkRecommender

LATER = 4_000_000_000_000_000  # a request long after the log


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    histories = random_histories([9, 1, 20], 10, seed=1)
    return dataset_of(histories, unit_vectors(8, 6), 2**62, 2**62 + 1, outside=2)


@pytest.fixture(scope="module")
def model(data: PreparedDataset) -> FSVAE:
    return random_model(data, small_config(softmax_weight=0.5, latent="gaussian"))


@pytest.fixture
def folder(data: PreparedDataset, model: FSVAE, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "bundle", model, data, {"git_commit": "abc", "seed": 4})
    return tmp_path / "bundle"


def test_the_model_comes_back_to_the_bit(folder: Path, model: FSVAE, data: PreparedDataset) -> None:
    bundle = load_bundle(folder)
    assert bundle.model.config == model.config and not bundle.model.training
    ours, theirs = model.state_dict(), bundle.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    one, other = (
        np.concatenate([part.vectors for part in NetworkRecommender(each).predict(data, 0, 2**62)])
        for each in (model, bundle.model)
    )
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"softmax_weight": 0.0},
        {"latent": "deterministic"},
        {"fast_layers": 1},
        {"fast": "off"},
        {"fast": "shuffled"},
        {"prior": "slow"},
        {"likelihood": "cosine"},
        {"likelihood": "track_softmax", "softmax_weight": 0.0},
        {"track_table": "finetuned"},
        {"repeat_head": True, "track_table": "finetuned"},
    ],
    ids=lambda changes: "-".join(f"{name}={value}" for name, value in changes.items()),
)
def test_every_kind_of_model_comes_back(data: PreparedDataset, tmp_path: Path, changes: dict[str, object]) -> None:
    model = random_model(data, small_config(**changes))
    save_bundle(tmp_path, model, data, {})
    bundle = load_bundle(tmp_path)
    assert bundle.model.config == model.config
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in bundle.model.state_dict().items())
    known = bundle.user("u0", LATER)
    assert known is not None and known[0].current[0].shape == (model.config.fast_layers, 1, model.config.fast_hidden)
    assert len(known[0].ring.track) == (5 if model.repeat_head else 0)  # u0 has 9 listens, its anchor is the 4th
    one, other = (next(NetworkRecommender(each).predict(data, 0, 2**62)) for each in (model, bundle.model))
    for ours, theirs in zip(one, other, strict=True):
        assert (ours is None and theirs is None) or np.array_equal(ours, theirs)  # type: ignore[arg-type]


def test_it_holds_the_catalogue_the_users_and_what_it_was_made_from(folder: Path, data: PreparedDataset) -> None:
    bundle = load_bundle(folder)
    assert bundle.track_ids == [f"t{index}" for index in range(8)]
    assert bundle.tracks["title"].to_list() == [f"Title {index}" for index in range(8)]
    assert bundle.user_ids == ["u0", "u1", "u2"]
    info = bundle.info
    assert (info["git_commit"], info["seed"], info["dataset"], info["min_count"]) == ("abc", 4, "tiny", 1)
    assert info["as_of_day"] == data.manifest["as_of_day"]
    assert bundle.view(data) is data


def test_a_users_state_may_be_written_to_without_harm(folder: Path) -> None:
    bundle = load_bundle(folder)
    for _ in range(2):
        known = bundle.user("u2", LATER)
        assert known is not None
        state, slow = known
        assert state.n_listens == 20 and slow[0] == 1 and state.current[0].any()
        state.current[0].zero_()
        state.following[1].zero_()
        state.ring.track.zero_()
        slow[:] = 0


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 0), ("features", {"listen": []})], ids=["schema", "features"]
)
def test_a_bundle_of_another_version_is_refused(folder: Path, key: str, value: object) -> None:
    info = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(info | {key: value}))
    with pytest.raises(UserError, match="made by another version"):
        load_bundle(folder)


def test_a_bundle_whose_model_has_another_switch_is_refused(folder: Path) -> None:
    info = json.loads((folder / "bundle.json").read_text())
    for changes in ({"use_fast": True}, {"latent": "deterministic"}):
        (folder / "bundle.json").write_text(json.dumps(info | {"model": info["model"] | changes}))
        with pytest.raises(UserError, match="not one of this version's"):
            load_bundle(folder)


def test_a_folder_without_a_bundle_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Train one: fsvae train"):
        load_bundle(tmp_path)
