"""A bundle gives back the model that went in, and refuses what is not one of ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tiny_dataset import (
    FIRST_DAY,
    HOUR_US,
    dataset_of,
    known_user,
    random_histories,
    random_model,
    small_config,
    unit_vectors,
)

from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result_files import FILE, read_results, write_results
from fsvae.evaluation.significance import BootstrapConfig
from fsvae.evaluation.slices import slices
from fsvae.features.clock import DAY_US
from fsvae.features.habits import habits
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.predict import NetworkPredictor
from fsvae.prepare.buckets import N_BUCKETS
from fsvae.prepare.events import Day, EventCodes, UserShard, read_events
from pipelines.lake.lake import Lake

LATER = 4_000_000_000_000_000  # a request long after the log


@pytest.fixture(scope="module")
def data() -> Dataset:
    histories = random_histories([9, 1, 20], 10, seed=1)
    return dataset_of(histories, unit_vectors(8, 6), 2**62, 2**62 + 1, outside=2)


@pytest.fixture(scope="module")
def model(data: Dataset) -> FSVAENetwork:
    return random_model(data, small_config(softmax_weight=0.5, latent="gaussian"))


@pytest.fixture
def folder(data: Dataset, model: FSVAENetwork, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "bundle", model, data, {"git_commit": "abc", "seed": 4})
    return tmp_path / "bundle"


def test_the_model_comes_back_to_the_bit(folder: Path, model: FSVAENetwork, data: Dataset) -> None:
    bundle = load_bundle(folder)
    assert bundle.model.config == model.config and not bundle.model.training
    ours, theirs = model.state_dict(), bundle.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    one, other = (
        np.concatenate([part.vectors for part in NetworkPredictor(each).predict(data, 0, 2**62)])
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
        {"slow_memory": True, "shared_memory": True, "track_table": "finetuned"},
    ],
    ids=lambda changes: "-".join(f"{name}={value}" for name, value in changes.items()),
)
def test_every_kind_of_model_comes_back(data: Dataset, tmp_path: Path, changes: dict[str, object]) -> None:
    model = random_model(data, small_config(**changes))
    save_bundle(tmp_path, model, data, {})
    bundle = load_bundle(tmp_path)
    assert bundle.model.config == model.config
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in bundle.model.state_dict().items())
    known = known_user(bundle, "u0", LATER)
    assert known is not None and known[0].current[0].shape == (model.config.fast_layers, 1, model.config.fast_hidden)
    assert len(known[0].heard.track) == (9 if model.has_memory else 0)
    one, other = (next(NetworkPredictor(each).predict(data, 0, 2**62)) for each in (model, bundle.model))
    for ours, theirs in zip(one, other, strict=True):
        assert (ours is None and theirs is None) or np.array_equal(ours, theirs)  # type: ignore[arg-type]


def test_it_holds_the_catalogue_the_users_and_what_it_was_made_from(folder: Path, data: Dataset) -> None:
    bundle = load_bundle(folder)
    assert bundle.track_ids == [f"t{index}" for index in range(10)]
    assert bundle.tracks["title"].to_list() == [f"Title {index}" for index in range(10)]
    assert bundle.user_ids == ["u0", "u1", "u2"]
    info = bundle.info
    assert (info["git_commit"], info["seed"], info["dataset"], info["min_count"]) == ("abc", 4, "tiny", 1)
    assert info["as_of_day"] == data.manifest["as_of_day"]
    assert bundle.view(data) is data


def test_a_dataset_in_the_models_space_names_its_tracks_by_the_models_indices(
    folder: Path, data: Dataset, tmp_path: Path
) -> None:
    """The other dataset's catalogue is t9, x, t0, y, t1 and t2; it lacks t3 to t7, and the model has no x, y, z."""
    day = FIRST_DAY * DAY_US
    history = [(track, day + n * HOUR_US) for n, track in enumerate([1, 0, 2, 3, 1, 6, 4, 0, 5, 7, 6, 3])]
    other = dataset_of({"u": history}, unit_vectors(6, 6, seed=1), day + 6 * HOUR_US, day + 7 * HOUR_US, outside=2)
    ids = ["t9", "x", "t0", "y", "t1", "t2", "z", "t8"]
    other = replace(other, tracks=other.tracks.with_columns(track_id=pl.Series(ids)))
    view = load_bundle(folder).view(other)

    assert view.tracks["track_id"].to_list() == [f"t{index}" for index in range(10)] + ["x", "y", "z"]
    assert view.tracks["track_index"].to_list() == list(range(13))
    assert view.tracks["in_catalogue"].to_list() == [True] * 8 + [False] * 5
    assert view.tracks["title"].to_list()[:8] == data.tracks["title"].to_list()[:8]
    assert view.n_catalogue == 8 and np.array_equal(view.vectors, data.vectors)
    heard = [[ids[track] for track, _ in history], view.tracks["track_id"].gather(view.listens.track).to_list()]
    assert heard[0] == heard[1]
    in_training = view.listens.track[view.targets("train")]
    assert view.tracks["train_count"].to_list() == np.bincount(in_training, minlength=13).tolist()
    targets = other.targets("test")
    for name in ("repeat track", "new track"):
        assert np.array_equal(slices(view, targets)[name], slices(other, targets)[name])

    result = evaluate_model(NetworkPredictor(load_bundle(folder).model), view, "test")
    write_results(tmp_path / "evaluation", [result], view)
    assert pl.read_parquet(tmp_path / "evaluation" / FILE)["track_id"].to_list() == heard[0][7:]
    assert read_results([tmp_path / "evaluation"])["FS-VAE"][0].dataset == view.fingerprint

    assert view.fingerprint.startswith("tiny@") and view.manifest["train_until_us"] == other.manifest["train_until_us"]
    assert view.fingerprint == load_bundle(folder).view(other).fingerprint
    save_bundle(tmp_path, random_model(other, small_config()), other, {})
    assert load_bundle(tmp_path).view(other) is other
    model = replace(data, vectors=data.vectors[::-1].copy())
    save_bundle(tmp_path, random_model(model, small_config()), model, {})
    assert load_bundle(tmp_path).view(other).fingerprint not in (view.fingerprint, other.fingerprint)


def test_distances_of_two_spaces_are_not_compared(folder: Path, data: Dataset, tmp_path: Path) -> None:
    """A model of the dataset, and one from elsewhere with the same catalogue and vectors of its own."""
    elsewhere = replace(data, vectors=unit_vectors(8, 6, seed=2))
    save_bundle(tmp_path, random_model(elsewhere, small_config()), elsewhere, {})
    results = {
        name: [evaluate_model(NetworkPredictor(bundle.model), bundle.view(data), "train")]
        for name, bundle in {"here": load_bundle(folder), "elsewhere": load_bundle(tmp_path)}.items()
    }
    table = comparison(results, "here", data, BootstrapConfig(resamples=9, least_users=1))
    compared = set(table.filter(pl.col("difference").is_not_null())["metric"])
    assert "mrr" in compared and not compared & {"l2", "cosine", "diversity@10"}


def test_a_users_state_may_be_written_to_without_harm(folder: Path) -> None:
    bundle = load_bundle(folder)
    for _ in range(2):
        known = known_user(bundle, "u2", LATER)
        assert known is not None
        state, slow = known
        assert state.n_listens == 20 and slow[0] == 1 and state.current[0].any()
        state.current[0].zero_()
        state.following[1].zero_()
        slow[:] = 0


def test_the_snapshot_of_any_day_is_made_of_all_events_before_it(
    small_lake: Lake, small_dataset: Dataset, tmp_path: Path
) -> None:
    """Snapshots from each user's last active day on, within the dataset and behind it, equal to the bit."""
    save_bundle(tmp_path, random_model(small_dataset, small_config()), small_dataset, {})
    bundle = load_bundle(tmp_path)
    codes = EventCodes()
    lake_days = [Day.of(name, entry) for name, entry in sorted(small_lake.manifest.days.items())]
    events = read_events(small_lake.root, lake_days, UserShard((0, N_BUCKETS)), codes).events
    as_of = int(small_dataset.manifest["as_of_day"])
    last_days = small_dataset.listens.played_at[small_dataset.listens.offsets[1:] - 1] // DAY_US
    assert (last_days < as_of - 5).any() and len(np.unique(events.kind)) >= 4
    for user, (user_id, last) in enumerate(zip(small_dataset.user_ids, last_days.tolist(), strict=True)):
        days = np.array(sorted({last, last + 1, last + 28, last + 29, *range(last, as_of + 2), as_of + 40}))
        code = codes.users.known.to_pylist().index(user_id)
        taste = small_dataset.snapshots.sums.taste(np.full(len(days), user), days)
        expected = np.concatenate([habits(events, np.full(len(days), code), days), taste], axis=1)
        at = ((days + 1) * DAY_US - 1).tolist()
        one_by_one = [bundle.slow([user_id], [one])[0] for one in at]
        assert np.array_equal(one_by_one, expected)  # type: ignore[arg-type]
        assert np.array_equal(bundle.slow([user_id] * len(at), at), expected)  # type: ignore[arg-type]
    at = [int(as_of + 1) * DAY_US] * len(last_days)
    together = bundle.slow(small_dataset.user_ids, at)
    other = load_bundle(tmp_path)  # which has kept none of them
    apart = [other.slow([user_id], at[:1])[0] for user_id in small_dataset.user_ids]
    assert np.array_equal(together, apart)  # type: ignore[arg-type]


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
