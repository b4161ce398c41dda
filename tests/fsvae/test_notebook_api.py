"""The library in a notebook: the dataset of a frame, and what recommenders answer."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from tiny_dataset import FIRST_DAY, History, dataset_of, pattern, random_histories, unit_vectors

import fsvae
from fsvae.baselines.registry import MODELS
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.significance import BootstrapConfig
from fsvae.features.clock import DAY_US
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.models.model_config import ModelConfig
from fsvae.models.predict import NetworkPredictor
from fsvae.models.train_config import TrainConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.recommender import Recommender
from fsvae.requests import request_of_listener, requests_of_users, time_us

TRACKS = 7
VECTORS = unit_vectors(TRACKS, 4)
HISTORIES = random_histories([40, 25, 60, 3], TRACKS + 2, seed=5)
USERS = list(HISTORIES)
UNTIL = FIRST_DAY * DAY_US + 8 * DAY_US, FIRST_DAY * DAY_US + 9 * DAY_US
END = max(history[-1][1] for history in HISTORIES.values())
ASKED = END + 40 * DAY_US + 3_600_000_000
SMALL = ModelConfig(history=4, slow_hidden=4, fast_hidden=4)  # and the memory of the default model
ONE_EPOCH = TrainConfig(max_epochs=1, batch_listens=64)


def world(histories: dict[str, History]) -> Dataset:
    return dataset_of(histories, VECTORS, *UNTIL, outside=2)


def fitted(name: str, dataset: Dataset) -> Recommender:
    """Return a model of the registry; a network has random weights."""
    entry = MODELS[name]
    if not entry.neural:
        model: Recommender = entry.load()(entry.settings()).fit(dataset)
        return model
    torch.manual_seed(1)
    network = entry.load().for_dataset(world(HISTORIES), entry.settings())
    estimator = fsvae.baselines.GRU4Rec()
    estimator._dataset, estimator._predictor = dataset, NetworkPredictor(network)
    return estimator


@pytest.mark.parametrize("name", [name for name in MODELS if name != "fsvae"])
@pytest.mark.parametrize("at", [END, ASKED], ids=["within the log", "long after it"])
def test_what_is_recommended_is_what_evaluation_ranks(name: str, at: int) -> None:
    """One more listen of each user at the time of the request: evaluation recommends the same for it."""
    now = world(HISTORIES)
    later = world({user: [*history, (0, at)] for user, history in HISTORIES.items()})
    evaluated = evaluate_model(fitted(name, later), later, "test", not_before_us=at)
    lists = dict(zip(later.listens.user[evaluated.targets].tolist(), evaluated.recommended.tolist(), strict=True))
    users = [user for user in USERS if at > END or HISTORIES[user][-1][1] < at]
    found = fitted(name, now).recommend(users, k=100, at=pd.Timestamp(at, unit="us"))
    for user in users:
        mine = found[found["user_id"] == user]
        assert mine["track_id"].to_list() == [f"t{track}" for track in lists[USERS.index(user)]]
        assert mine["rank"].to_list() == list(range(1, TRACKS + 3))
        scores = mine["score"].dropna()  # tracks without a vector have none from a model that searches vectors
        assert len(scores) in (TRACKS, TRACKS + 2) and scores.is_monotonic_decreasing
        assert mine["title"].to_list() == [f"Title {track}" for track in lists[USERS.index(user)]]


@pytest.mark.parametrize("name", ["markov", "average"])
def test_a_request_recommends_what_anybody_has_heard_before_it(name: str) -> None:
    """Track 7, outside the catalogue, is heard on day 1, track 8 by another user on day 3; 1 to 6 by nobody."""
    day = [FIRST_DAY * DAY_US + n * DAY_US for n in range(12)]
    histories: dict[str, History] = {"ann": [(0, day[0]), (7, day[1]), (0, day[1] + 1)], "bob": [(8, day[3])]}
    model = fitted(name, world(histories))

    def answered(at: int, *recent: str) -> list[str]:
        time = pd.Timestamp(at, unit="us")
        found = model.next_tracks(list(recent), 9, time) if recent else model.recommend(["ann"], 9, time)
        return found["track_id"].to_list()

    assert answered(day[1] + 2)[name == "average"] == "t7" and set(answered(day[1] + 2)) == {"t0", "t7"}
    assert set(answered(day[3])) == {"t0", "t7"} and set(answered(day[3] + 1)) == {"t0", "t7", "t8"}
    assert set(answered(day[2], "t8", "t0")) == {"t0", "t7", "t8"}  # heard by the listener


def test_a_request_has_the_snapshots_of_the_listen_that_it_stands_for() -> None:
    now = world(HISTORIES)
    for at in (END, END + 3 * DAY_US, ASKED):
        later = world({user: [*history, (TRACKS + 2, at)] for user, history in HISTORIES.items()})
        asked = requests_of_users(now, USERS[::-1], at)
        for row, user in enumerate(reversed(range(len(USERS)))):
            mine, theirs = (each.listens.offsets[index] for each, index in ((asked, row), (later, user)))
            rows = [
                each.slow_row[begin + np.arange(len(HISTORIES[USERS[user]]) + 1)]
                for each, begin in ((asked, mine), (later, theirs))
            ]
            features = [each.snapshots.features(row) for each, row in zip((asked, later), rows, strict=True)]
            assert np.array_equal(*features)


def test_a_new_listener_is_read_as_a_user_of_the_log() -> None:
    now = world(HISTORIES)
    history = HISTORIES["u1"]
    times = np.array([row[1] for row in history])
    asked = request_of_listener(now, [f"t{row[0]}" for row in history], times, ASKED)
    known = requests_of_users(now, ["u1"], ASKED)
    assert np.array_equal(asked.listens.track, known.listens.track)
    assert np.array_equal(*(each.snapshots.features(each.slow_row) for each in (asked, known)))
    frame = pd.DataFrame({"track_id": [f"t{row[0]}" for row in history], "played_at": pd.to_datetime(times, unit="us")})
    at = pd.Timestamp(ASKED, unit="us")
    one, other = fitted("markov", now).next_tracks(frame, at=at), fitted("markov", now).recommend(["u1"], at=at)
    assert one.equals(other.drop(columns="user_id"))
    with pytest.warns(UserWarning, match="recent: Last track does not know 'nobody knows it'"):
        unknown = fitted("last_track", now).next_tracks(["nobody knows it", "t3"], k=1)
    assert unknown["track_id"].to_list() == ["t3"]  # it counts as a listen, but tells no taste


def test_similar_tracks_are_the_nearest_ones() -> None:
    model = fitted("popularity", world(HISTORIES))
    cosine = VECTORS @ VECTORS[2]
    order = [f"t{track}" for track in np.argsort(-cosine) if track != 2]
    found = model.similar_tracks("t2", k=3)
    assert found["track_id"].to_list() == order[:3]
    assert found["score"].to_numpy() == pytest.approx(np.sort(cosine)[::-1][1:4])
    with pytest.raises(UserError, match="no vector of track 'T2'"):
        model.similar_tracks("T2")


def test_what_cannot_be_asked_is_told() -> None:
    model = fitted("popularity", world(HISTORIES))
    with pytest.raises(UserError, match=r"'bob' is not a user of the dataset: next_tracks\(recent\) is for new"):
        model.recommend(["u1", "bob"])
    with pytest.raises(UserError, match="at is before the last listen of 'u2'"):
        model.recommend(["u2"], at="2024-10-04")
    for wrong, message in (("soon", "not a time such as"), ("2200-01-01", "not between 1970 and 2100")):
        with pytest.raises(UserError, match=message):
            time_us(wrong)
    assert time_us("2026-02-01T20:00:00+01:00") == time_us("2026-02-01 19:00") == 1_769_972_400_000_000
    with pytest.raises(UserError, match="recent has no column played_at; it has track_id"):
        model.next_tracks(pd.DataFrame({"track_id": ["t1"]}))
    unsorted = pd.DataFrame({"track_id": ["t1", "t2"], "played_at": ["2024-10-02", "2024-10-01"]})
    with pytest.raises(UserError, match="played_at must ascend"):
        model.next_tracks(unsorted)
    assert model.recommend([]).columns.to_list() == ["user_id", "track_id", "score", "rank", "title", "artist"]


def test_fsvae_answers_from_its_bundle_as_evaluation_does(tmp_path: Path) -> None:
    data = pattern()
    model = fsvae.FSVAE(SMALL, ONE_EPOCH).fit(data)
    at = pd.Timestamp(int(data.listens.played_at.max()) + 3 * DAY_US, unit="us")
    found = model.recommend(data.user_ids, k=4, at=at)
    end = int(data.listens.played_at.max()) + 1  # everybody's counts are as of then in the bundle
    model._predictor = model._predictor.refreshed([end])
    of_evaluation = Recommender._best(model, requests_of_users(data, data.user_ids, time_us(at)), 4, time_us(at))
    assert found["track_id"].to_list() == [f"t{track}" for best, _ in of_evaluation for track in best]
    assert model.embed_users(data.user_ids[:2], at).shape == (2, SMALL.latent_dim)
    model.save(tmp_path / "bundle")
    loaded = fsvae.load(tmp_path / "bundle")
    assert loaded.recommend(data.user_ids, k=4, at=at).equals(found)
    assert loaded.next_tracks(["t1", "t2"], k=2).equals(model.next_tracks(["t1", "t2"], k=2))
    assert (
        evaluate_model(loaded, data, "validation").l2.tolist() == evaluate_model(model, data, "validation").l2.tolist()
    )
    with pytest.raises(UserError, match="'bob' is not a user"):
        model.embed_users(["bob"])


def test_evaluate_is_the_comparison_of_the_evaluations() -> None:
    data = pattern()
    models = [
        fsvae.baselines.MarkovBlended().fit(data, refit=False),
        fsvae.baselines.Popularity().fit(data, refit=False),
    ]
    table = fsvae.evaluate(models, data, "validation", config=BootstrapConfig(resamples=9, least_users=1))
    for model in models:
        expected = evaluate_model(model, data, "validation").metrics()
        found = table[(table["model"] == model.name) & (table["slice"] == "all")].set_index("metric")["value"]
        assert found.to_dict() == pytest.approx(expected, nan_ok=True)
    assert set(table["model"][table["difference"].notna()]) == {"Popularity"}
    with pytest.raises(UserError, match="Two of the models have one name"):
        fsvae.evaluate([models[0], models[0]], data)
    with pytest.raises(UserError, match="no model 'Popular'"):
        fsvae.evaluate(models, data, reference="Popular")


def test_the_dataset_of_a_frame_is_that_of_ingest_and_prepare(small_log: Path, small_dataset: Dataset) -> None:
    config = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=2))
    listens = fsvae.read_listens(small_log)
    made = Dataset.from_pandas(listens, config=config)
    assert made.fingerprint == small_dataset.fingerprint
    assert made.manifest == {**small_dataset.manifest, "logs": {}}  # the checksums of all files among it
    assert made.tracks.equals(small_dataset.tracks) and np.array_equal(made.vectors, small_dataset.vectors)


def test_a_frame_of_tracks_goes_before_what_the_listens_say() -> None:
    plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 20, "title": "of the log"})
    plays["played_at"] = pd.date_range("2026-01-01", periods=60, freq="1h")
    config = DatasetConfig(track2vec=Track2VecConfig(epochs=1))
    tracks = pd.DataFrame({"track_id": ["t2", "t9"], "title": ["of the frame", "never heard"]})
    found = Dataset.from_pandas(plays, tracks, config).tracks
    titles = dict(zip(found["track_id"], found["title"], strict=True))
    assert titles == {"t1": "of the log", "t2": "of the frame", "t3": "of the log"}
    with pytest.raises(UserError, match=r"tracks is a DatasetConfig, not a frame: .* config=DatasetConfig\(...\)"):
        Dataset.from_pandas(plays, config)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="tracks has no column track_id; it has id"):
        Dataset.from_pandas(plays, tracks.rename(columns={"track_id": "id"}), config)
    with pytest.raises(UserError, match="the frame has no column 'track_id'"):
        Dataset.from_pandas(plays.drop(columns="track_id"), None, config)
    with pytest.raises(UserError, match=r"do not fill a training, .*dataset\.train_share.*dataset\.train_until"):
        Dataset.from_pandas(plays[:2], None, replace(config, min_count=1))


def test_a_field_that_there_is_not_is_told() -> None:
    with pytest.raises(UserError, match=r"titel is not a field of a listen; .*\. Did you mean 'title'\?"):
        fsvae.read_listens(pd.DataFrame({"user_id": ["ann"]}), titel="name")
    assert "FSVAE" in dir(fsvae) and all(hasattr(fsvae, name) for name in dir(fsvae))


def test_settings_of_the_source_are_given_beside_its_columns(tmp_path: Path) -> None:
    plays = pd.DataFrame({"user_id": ["ann"], "track_id": ["a"], "time": [1_767_225_600]})
    told = r"line 1, played_at: not a time; source.time_unit says how times are written: '1767225600'"
    with pytest.raises(UserError, match=told):
        fsvae.read_listens(plays, played_at="time")
    taken = fsvae.read_listens(plays, played_at="time", time_unit="s")["played_at"]
    assert taken.to_list() == [pd.Timestamp("2026-01-01", tz="UTC")]
    with pytest.warns(UserWarning, match="most times lie in 1970: is time_unit right"):
        fsvae.read_listens(plays, played_at="time", time_unit="ms")
    with pytest.raises(UserError, match=r"source.time_unit=min is not one of iso, s, ms, us"):
        fsvae.read_listens(plays, played_at="time", time_unit="min")
    (tmp_path / "log.csv").write_text("user_id;track_id;played_at\nann;a;2026-01-01\n")
    assert len(fsvae.read_listens(tmp_path / "log.csv", delimiter=";")) == 1
    with pytest.raises(UserError, match=r"""It was read as one column: set 'source.delimiter=";"'$"""):
        fsvae.read_listens(tmp_path / "log.csv")


def test_a_model_does_not_tell_of_listens_that_it_has_learned_from() -> None:
    data = pattern()
    model = fsvae.baselines.Popularity().fit(data, refit=False)
    earlier = replace(data, manifest={**data.manifest, "train_until_us": data.manifest["train_until_us"] - 1})
    with pytest.raises(UserError, match="Popularity has learned from listens up to 2024-10-04"):
        fsvae.evaluate([model], earlier, "validation")
    for models, period, message in (([model], "train", "period='train' is neither"), ([], "test", "no model")):
        with pytest.raises(UserError, match=message):
            fsvae.evaluate(models, data, period)


def test_a_single_model_is_evaluated_as_a_list_of_one() -> None:
    data = pattern()
    model = fsvae.baselines.Popularity().fit(data)
    assert fsvae.evaluate(model, data).equals(fsvae.evaluate([model], data))


def test_what_is_no_dataset_and_no_setting_is_refused_before_the_fit() -> None:
    message = r"fit takes a Dataset, not a DataFrame: .* Dataset.from_pandas\(fsvae.read_listens\(df\)\)"
    with pytest.raises(UserError, match=message):
        fsvae.FSVAE().fit(pd.DataFrame())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"train.max_epochs=-3 is less than 1"):
        fsvae.FSVAE(train=fsvae.TrainConfig(max_epochs=-3))
    with pytest.raises(UserError, match=r"train.max_epochs: Input should be a valid integer"):
        fsvae.baselines.GRU4Rec(train=fsvae.TrainConfig(max_epochs="x"))  # type: ignore[arg-type]


def test_a_model_says_what_it_is() -> None:
    assert repr(fsvae.baselines.Popularity()) == "<Popularity, not fitted>"
    assert repr(fsvae.FSVAE()) == "<FS-VAE, not fitted>"
    assert repr(fitted("popularity", world(HISTORIES))) == "<Popularity, fitted on 7 tracks>"


def test_the_names_that_signatures_use_are_public() -> None:
    assert (fsvae.UserError, fsvae.BootstrapConfig, fsvae.SourceConfig) == (UserError, BootstrapConfig, SourceConfig)


def test_a_track_without_a_vector_is_not_taken_for_another_one() -> None:
    """Here t7 is followed by t1; in the other log the same index is t9, which nobody has heard of here."""
    pairs = [(7 if n % 2 == 0 else 1, FIRST_DAY * DAY_US + n * 60_000_000) for n in range(40)]
    here = world({"u": pairs})
    there = replace(here, tracks=here.tracks.with_columns(track_id=here.tracks["track_id"].replace({"t7": "t9"})))
    model = fsvae.baselines.MarkovGlobal().fit(here)
    after = [
        next(model.predict(data, FIRST_DAY * DAY_US + 60_000_000, FIRST_DAY * DAY_US + 60_000_001)).scores
        for data in (model.view(here), model.view(there))
    ]
    popular = fsvae.baselines.Popularity().fit(here)._scores
    assert after[0] is not None and after[1] is not None
    assert after[0][0].argmax() == 1 and after[0][0].max() > 0.9
    np.testing.assert_allclose(after[1][0], np.append(popular / popular.sum(), 0), atol=1e-6)


def test_a_model_is_saved_over_itself_copied_and_asked_before_it_is_fitted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"FS-VAE is not fitted yet: call fit\(dataset\) first"):
        fsvae.FSVAE().recommend(["u0"])
    data = pattern()
    fsvae.FSVAE(SMALL, ONE_EPOCH).fit(data).save(tmp_path)
    loaded = fsvae.load(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loaded.save(tmp_path)
    copied = pickle.loads(pickle.dumps(loaded))
    copied.save(tmp_path / "copy")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert copied.recommend(["u0"]).equals(loaded.recommend(["u0"]))


def test_ids_and_numbers_of_another_kind_are_told() -> None:
    model = fitted("popularity", world(HISTORIES))
    with pytest.raises(UserError, match=r"users='u1' is a single id: write users=\['u1'\]"):
        model.recommend("u1")
    with pytest.raises(UserError, match=r"recent='t1' is a single id"):
        model.next_tracks("t1")
    with pytest.raises(UserError, match="k=0: the number of tracks is 1 or more"):
        model.recommend(["u1"], k=0)
    of_numbers = fitted("popularity", world({"0": HISTORIES["u0"]}))
    with pytest.raises(UserError, match=r"^0 is not the id of a user: ids are text: write '0'.$"):
        of_numbers.recommend([0])  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"^7 is not the id of a user: ids are text, and there is no '7'.$"):
        of_numbers.recommend([7])  # type: ignore[list-item]
    with pytest.raises(UserError, match="not a time such as"):
        model.recommend(["u1"], at=[1])  # type: ignore[arg-type]
    users = pd.Series(["u1", "u2"], index=[5, 6])
    assert model.recommend(users, k=1)["user_id"].to_list() == ["u1", "u2"]
    recent = pl.DataFrame({"track_id": ["t1"], "played_at": ["2024-10-05"]})
    assert len(model.next_tracks(recent, k=2)) == 2
