"""Prepare: a dataset of three users worked out by hand, equal bytes for equal input, and what is refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from lakes import all_events, disk

import fsvae.prepare.listen_counts
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.errors import UserError
from fsvae.features.slow import HABITS
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.catalogue import catalogue
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.schema import DATASET_TRACKS, RECENT_DAYS, SCHEMA_VERSION, SEQUENCES, SLOW
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.datasets import dataset_in_use
from pipelines.prepare.prepare import prepare

LOG = """user_id,track_id,played_at,kind,ms_played,duration_ms,title,artist_id
ann,z,2026-01-01T10:00:00Z,listen,30000,60000,Zed,art
ann,b,2026-01-01T10:05:00Z,listen,,60000,,art
bob,b,2026-01-01T11:00:00Z,listen,,,,
bob,z,2026-01-01T11:10:00Z,listen,10,0,,
cat,c,2026-01-02T09:00:00Z,listen,15000,60000,Sea,
cat,b,2026-01-02T09:10:00Z,listen,90000,60000,Bee,
bob,z,2026-01-02T12:00:00Z,skip,100,60000,,
ann,c,2026-01-03T10:00:00Z,listen,,,,
bob,d,2026-01-03T11:00:00Z,listen,,,,
cat,a,2026-01-04T09:00:00Z,listen,,,,
ann,z,2026-01-04T10:00:00Z,listen,0,60000,,
ann,e,2026-01-05T00:00:00Z,like,,,,
dan,e,2026-01-01T00:00:00Z,save,,,,
"""
CONFIG = DatasetConfig(min_count=2, train_share=0.6, validation_share=0.2, track2vec=Track2VecConfig(epochs=1))
PARTS = ["sequences/part-00.parquet", "slow/part-00.parquet"]
RECENT = "recent_days/part-00.parquet"
NAMES = ["manifest.json", RECENT, *PARTS, "tracks.parquet", "vectors.npy"]


def us(day: int, hour: int, minute: int = 0) -> int:
    return int(datetime(2026, 1, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000


def day_number(day: int) -> int:
    return (date(2026, 1, day) - date(1970, 1, 1)).days


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".used")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def made(datasets: Path) -> set[str]:
    return {path.name for path in datasets.iterdir() if path.is_dir() and path.name != ".cache"}


def made_of(lake: Lake, config: DatasetConfig, seed: int, datasets: Path) -> Path:
    """The folder of a dataset on the local disk."""
    folder = prepare(lake, config, seed, datasets).folder.local
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("hand-made")
    (root / "log.csv").write_text(LOG)
    lake = Lake(root / "lake")
    ingest(lake, SourceConfig(path=str(root / "log.csv")))
    return lake


@pytest.fixture(scope="module")
def folder(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_of(lake, CONFIG, seed=3, datasets=tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return open_dataset(folder)


def manifest_of(lake: Lake, datasets: Path, **changes: Any) -> dict[str, Any]:
    return open_dataset(prepare(lake, replace(CONFIG, **changes), seed=3, datasets=datasets).folder).manifest


def test_the_files_have_their_schemas(folder: Path) -> None:
    assert sorted(bytes_of(folder)) == NAMES
    assert pq.read_schema(folder / "tracks.parquet").equals(DATASET_TRACKS)
    assert pq.read_schema(folder / PARTS[0]).equals(SEQUENCES)
    assert pq.read_schema(folder / PARTS[1]).equals(SLOW)
    assert pq.read_schema(folder / RECENT).equals(RECENT_DAYS)


def test_the_split_and_the_counts(dataset: Dataset) -> None:
    """Ten listens: the 7th by time opens the validation period and the 9th the test period."""
    assert dataset.period("train")[1] == dataset.period("validation")[0] == us(3, 10)
    assert dataset.period("validation")[1] == dataset.period("test")[0] == us(4, 9)
    assert dataset.manifest["counts"] == {
        "users": 3,
        "tracks": 5,
        "catalogue": 2,
        "snapshots": 10,
        "events": 13,
        "listens": 10,
        "train_listens": 6,
        "train_listens_in_catalogue": 5,
        "validation_listens": 2,
        "validation_listens_in_catalogue": 0,
        "test_listens": 2,
        "test_listens_in_catalogue": 1,
    }
    assert dataset.manifest["as_of_day"] == day_number(6)
    (log,) = dataset.manifest["logs"].values()
    assert (log["rows_in"], log["taken"]) == (13, 13)
    assert dataset.manifest["seed"] == 3 and dataset.manifest["config"]["min_count"] == 2


def test_tracks_are_by_train_count_and_then_by_id(dataset: Dataset) -> None:
    columns = ["track_index", "track_id", "train_count", "in_catalogue", "title", "artist_id"]
    assert dataset.tracks.select(columns).rows() == [
        (0, "b", 3, True, "Bee", "art"),
        (1, "z", 2, True, "Zed", "art"),
        (2, "c", 1, False, "Sea", None),
        (3, "a", 0, False, None, None),
        (4, "d", 0, False, None, None),
    ]
    assert dataset.n_catalogue == 2 and dataset.vectors.shape == (2, 80)
    np.testing.assert_allclose(np.linalg.norm(dataset.vectors, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(("min_count", "catalogue"), [(3, 1), (1, 3), (0, 3)])
def test_min_count_counts_the_training_period_only(lake: Lake, tmp_path: Path, min_count: int, catalogue: int) -> None:
    assert manifest_of(lake, tmp_path, min_count=min_count)["counts"]["catalogue"] == catalogue


def test_sequences(dataset: Dataset) -> None:
    """Users by bucket (bob 59, cat 59, ann 62), their listens in order of time."""
    assert dataset.user_ids == ["bob", "cat", "ann"]
    listens = dataset.listens
    assert listens.offsets.tolist() == [0, 3, 6, 10]
    b, z, c, a, d = range(5)
    assert listens.track.tolist() == [b, z, d, c, b, a, z, b, c, z]
    bob, cat = [us(1, 11), us(1, 11, 10), us(3, 11)], [us(2, 9), us(2, 9, 10), us(4, 9)]
    assert listens.played_at.tolist() == [*bob, *cat, us(1, 10), us(1, 10, 5), us(3, 10), us(4, 10)]
    assert listens.played_fraction.tolist() == [1, 1, 1, 0.25, 1, 1, 0.5, 1, 1, 0]
    assert dataset.targets("validation").tolist() == [2, 8] and dataset.targets("test").tolist() == [5, 9]


def test_snapshots_are_of_active_days_and_see_only_days_before(dataset: Dataset) -> None:
    snapshots = dataset.snapshots
    days = [(0, 1), (0, 3), (0, 6), (1, 2), (1, 4), (1, 6), (2, 1), (2, 3), (2, 4), (2, 6)]
    assert list(zip(snapshots.user.tolist(), snapshots.day.tolist(), strict=True)) == [
        (user, day_number(day)) for user, day in days
    ]
    listens = snapshots.habits[:, HABITS.index("log_listens")]
    np.testing.assert_allclose(np.expm1(listens), [0, 2, 3, 0, 2, 3, 0, 2, 3, 4], atol=1e-5)
    skips, likes = (snapshots.habits[:, HABITS.index(name)] for name in ("log_skips", "log_likes"))
    np.testing.assert_allclose(np.expm1(skips), [0, 1, 1, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(np.expm1(likes), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], atol=1e-6)
    artists = snapshots.habits[:, HABITS.index("log_distinct_artists")]
    np.testing.assert_allclose(np.expm1(artists), [0, 1, 1, 0, 1, 1, 0, 1, 1, 1], atol=1e-6)
    assert dataset.slow_row.tolist() == [0, 0, 1, 3, 3, 4, 6, 6, 7, 8]
    taste = snapshots.sums.taste(snapshots.user, snapshots.day)
    assert not taste[[0, 3, 6]].any() and taste[1].any()


def test_before_leaves_out_what_came_later(lake: Lake, tmp_path: Path) -> None:
    dataset = open_dataset(prepare(lake, replace(CONFIG, before="2026-01-04"), seed=3, datasets=tmp_path).folder)
    assert (dataset.manifest["counts"]["events"], dataset.manifest["counts"]["listens"]) == (10, 8)
    assert dataset.listens.played_at.max() == us(3, 11)
    assert dataset.manifest["as_of_day"] == day_number(4)
    assert dataset.manifest["train_until_us"] == us(2, 9)  # the 5th of 8
    assert dataset.manifest["validation_until_us"] == us(3, 10)  # the 7th
    assert "a" not in dataset.tracks["track_id"].to_list()
    assert manifest_of(lake, tmp_path, before="20260104")["fingerprint"] == dataset.fingerprint
    assert manifest_of(lake, tmp_path)["fingerprint"] != dataset.fingerprint


@pytest.mark.parametrize("continue_space", [False, True])
def test_a_day_without_events_makes_no_other_dataset(lake: Lake, tmp_path: Path, continue_space: bool) -> None:
    """The last event is of 5 January; the day before it is the first run of a daily job."""
    ends = ["2026-01-05", "2026-01-06", "2026-01-07", "2026-02-01", ""]
    names = [
        prepare(lake, replace(CONFIG, before=end, continue_space=continue_space), 3, tmp_path).folder.name
        for end in ends
    ]
    assert len(set(names)) == 2 and names[0] != names[1]
    manifest = open_dataset(tmp_path).manifest
    assert manifest["config"]["before"] == "" and manifest["continues"] == (names[0] if continue_space else "")


def test_the_cuts_may_be_given(lake: Lake, tmp_path: Path) -> None:
    manifest = manifest_of(lake, tmp_path, train_until="2026-01-02", validation_until="2026-01-03T11:30:00+01:00")
    assert (manifest["train_until_us"], manifest["validation_until_us"]) == (us(2, 0), us(3, 10, 30))
    counts = manifest["counts"]
    assert [counts[f"{period}_listens"] for period in ("train", "validation", "test")] == [4, 3, 3]


def test_shares_are_not_cut_short_by_rounding(lake: Lake, tmp_path: Path) -> None:
    """0.7 + 0.1 is a little less than 0.8 in floating point; it still means the 9th of 10."""
    manifest = manifest_of(lake, tmp_path, train_share=0.7, validation_share=0.1)
    assert (manifest["train_until_us"], manifest["validation_until_us"]) == (us(3, 11), us(4, 9))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"before": "2026-01-01"}, "no events before 2026-01-01"),
        ({"before": "soon"}, r"dataset\.before: 'soon' is not a day"),
        ({"before": "2026-01-02", "train_share": 0.1, "validation_share": 0.1}, "do not fill"),
        ({"train_share": 0.9, "validation_share": 0.1}, r"dataset\.train_share"),
        ({"train_share": 0.0}, r"dataset\.train_share"),
        ({"train_until": "2026-01-02"}, "go together"),
        ({"train_until": "2026-01-02", "validation_until": "x"}, "not ISO times"),
        ({"train_until": "2026-01-03", "validation_until": "2026-01-02"}, "do not fill"),
        ({"train_until": "2026-01-03", "validation_until": "2026-01-05"}, "do not fill"),
        ({"train_until": "2025-12-31", "validation_until": "2026-01-02"}, "do not fill"),
        ({"min_count": 4}, r"lower dataset\.min_count"),
    ],
)
def test_what_cannot_be_split_is_refused_and_leaves_nothing(
    lake: Lake, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        prepare(lake, replace(CONFIG, **changes), seed=3, datasets=tmp_path)
    with pytest.raises(UserError, match="no prepared dataset"):
        open_dataset(tmp_path)
    prepare(lake, CONFIG, seed=3, datasets=tmp_path)
    assert made(tmp_path) == {open_dataset(tmp_path).fingerprint}


@pytest.mark.parametrize("kind", ["listen", "skip"])
def test_too_few_listens_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "log.csv").write_text(
        f"user_id,track_id,played_at,kind\nu,a,2026-01-01,{kind}\nu,a,2026-01-02,{kind}\n"
    )
    lake = Lake(tmp_path / "lake")
    with pytest.raises(UserError, match="holds no events"):
        prepare(lake, CONFIG, seed=3, datasets=tmp_path / "datasets")
    ingest(lake, SourceConfig(path=str(tmp_path / "log.csv")))
    with pytest.raises(UserError, match="2 listens do not fill" if kind == "listen" else "no listen"):
        prepare(lake, CONFIG, seed=3, datasets=tmp_path / "datasets")


def test_same_input_same_bytes(lake: Lake, folder: Path, tmp_path: Path) -> None:
    again = made_of(lake, replace(CONFIG, keep=7), seed=3, datasets=tmp_path)
    assert again.name == folder.name and bytes_of(again) == bytes_of(folder)
    other = made_of(lake, CONFIG, seed=4, datasets=tmp_path)
    assert other.name != folder.name
    assert (other / "vectors.npy").read_bytes() != (folder / "vectors.npy").read_bytes()
    assert (other / PARTS[0]).read_bytes() == (folder / PARTS[0]).read_bytes()


def test_counts_added_up_day_by_day_are_those_of_all_days(
    lake: Lake, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[int] = []
    add = fsvae.prepare.listen_counts._sums
    monkeypatch.setattr(
        fsvae.prepare.listen_counts, "_sums", lambda frames: (added.append(len(frames)), add(frames))[1]
    )
    monkeypatch.setattr(fsvae.prepare.listen_counts, "_FOLD_ROWS", 0)
    assert bytes_of(made_of(lake, CONFIG, seed=3, datasets=tmp_path)) == bytes_of(folder)
    assert len(added) > 2


def test_a_prepared_dataset_is_not_made_again(lake: Lake, tmp_path: Path) -> None:
    stages: list[str] = []
    shares: list[float] = []
    first = prepare(
        lake, CONFIG, 3, tmp_path, lambda stage, share: (stages.append(stage), shares.append(share))[0]
    ).folder
    assert stages[0] == "counting" and stages[-1] == "done"
    assert np.diff(shares).min() > -1e-9 and (shares[0], shares[-1]) == (0.0, 1.0)
    stages.clear()
    assert prepare(lake, CONFIG, 3, tmp_path, lambda stage, share: stages.append(stage)).folder == first
    assert stages == ["done"]


def test_another_event_is_another_dataset(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG + "ann,b,2026-01-04T11:00:00Z,listen,,,,\n")
    grown = Lake(tmp_path / "lake")
    ingest(grown, SourceConfig(path=str(tmp_path / "log.csv")))
    before = prepare(lake, CONFIG, 3, tmp_path / "datasets").folder.name
    assert prepare(grown, CONFIG, 3, tmp_path / "datasets").folder.name != before
    assert open_dataset(tmp_path / "datasets").manifest["counts"]["listens"] == 11


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_changed_byte_is_refused(lake: Lake, tmp_path: Path, name: str) -> None:
    file = made_of(lake, CONFIG, seed=3, datasets=tmp_path) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=f"{name}: missing or not as it was written"):
        open_dataset(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=f"{name}: missing or not as it was written"):
        open_dataset(tmp_path)


def test_another_schema_version_is_refused(lake: Lake, tmp_path: Path) -> None:
    manifest = made_of(lake, CONFIG, seed=3, datasets=tmp_path) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(UserError, match="schema_version is 1, this program reads 2"):
        open_dataset(tmp_path)


def test_keep_keeps_the_latest_that_were_current(lake: Lake, tmp_path: Path) -> None:
    names = [prepare(lake, replace(CONFIG, keep=3), seed=seed, datasets=tmp_path).folder.name for seed in (1, 2, 3)]
    for age, name in enumerate(reversed(names)):  # a clock may be too coarse to tell them apart
        os.utime(tmp_path / name / ".used", (1_000_000 - age, 1_000_000 - age))
    assert made(tmp_path) == set(names)
    prepare(lake, replace(CONFIG, keep=3), seed=1, datasets=tmp_path)  # the oldest becomes the current one again
    fourth = prepare(lake, replace(CONFIG, keep=3), seed=4, datasets=tmp_path).folder.name
    assert made(tmp_path) == {names[0], names[2], fourth}
    assert open_dataset(tmp_path).fingerprint == fourth
    prepare(lake, replace(CONFIG, keep=0), seed=1, datasets=tmp_path)
    assert made(tmp_path) == {names[0]} and open_dataset(tmp_path).fingerprint == names[0]


def test_a_dataset_in_use_is_deleted_only_when_it_no_longer_is(lake: Lake, tmp_path: Path) -> None:
    config = replace(CONFIG, keep=1)
    first = prepare(lake, config, seed=1, datasets=tmp_path).folder
    with dataset_in_use(tmp_path) as (used, _):
        second = prepare(lake, config, seed=2, datasets=tmp_path).folder
        assert used == first and open_dataset(first).fingerprint == first.name
        assert made(tmp_path) == {first.name, second.name}
    assert prepare(lake, config, seed=2, datasets=tmp_path).folder == second and made(tmp_path) == {second.name}


def test_a_space_is_gone_on_from_unless_it_is_of_another_schema_version(lake: Lake, tmp_path: Path) -> None:
    first = made_of(lake, CONFIG, seed=3, datasets=tmp_path)
    config = replace(CONFIG, continue_space=True)
    second = prepare(lake, config, seed=3, datasets=tmp_path).folder.read_json("manifest.json")
    assert second["continues"] == first.name and second["track_space"]["drift"]["shared"] == 2
    assert (
        prepare(lake, config, seed=3, datasets=tmp_path).folder.name == second["fingerprint"]
    )  # again: not from itself
    manifest = tmp_path / second["fingerprint"] / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 1'))
    third = prepare(lake, config, seed=3, datasets=tmp_path).folder.read_json("manifest.json")
    assert third["continues"] == "" and third["track_space"]["drift"] is None


def test_a_space_that_has_learned_from_the_time_of_the_test_is_not_gone_on_from(lake: Lake, tmp_path: Path) -> None:
    """Training ends on 2 January at 09:00 in the dataset before 4 January and on 3 January in that of all events."""
    config = replace(CONFIG, continue_space=True)
    later = prepare(lake, config, 3, tmp_path).folder
    early = prepare(lake, replace(config, before="2026-01-04"), 3, tmp_path).folder
    manifest = early.read_json("manifest.json")
    assert manifest["train_until_us"] < later.read_json("manifest.json")["train_until_us"]
    assert manifest["continues"] == "" and manifest["track_space"]["drift"] is None
    alone = prepare(lake, replace(config, before="2026-01-04"), 3, tmp_path / "alone").folder
    assert alone.name == early.name and bytes_of(disk(alone)) == bytes_of(disk(early))
    # The same commands again find the same datasets, whichever is the current one.
    assert prepare(lake, config, 3, tmp_path).folder == later
    assert prepare(lake, replace(config, before="2026-01-04"), 3, tmp_path).folder == early
    # The other way round nothing leaks.
    assert prepare(lake, config, 4, tmp_path).folder.read_json("manifest.json")["continues"] == early.name


def test_a_space_whose_dataset_is_gone_is_told_and_begun_anew(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, continue_space=True)
    first = made_of(lake, CONFIG, seed=3, datasets=tmp_path)

    def deleted(*_: object) -> None:
        shutil.rmtree(first)

    with monkeypatch.context() as patch, pytest.raises(UserError, match=f"{first.name}.*is no more there.*again"):
        patch.setattr("fsvae.prepare.make_dataset.catalogue", lambda *args: (deleted(), catalogue(*args))[1])
        prepare(lake, config, 3, tmp_path)
    assert prepare(lake, config, 3, tmp_path).folder.read_json("manifest.json")["continues"] == ""


def test_what_a_killed_prepare_left_is_swept_and_takes_no_place(lake: Lake, tmp_path: Path) -> None:
    config = replace(CONFIG, keep=2)
    first = prepare(lake, config, seed=1, datasets=tmp_path).folder
    left = tmp_path / "0123456789abcdef"
    left.mkdir()
    (left / "tracks.parquet").write_text("half of it")
    another = tmp_path / ".variants" / "fedcba9876543210" / ".part-00.parquet.7.tmp"  # a matrix is writing it
    another.parent.mkdir(parents=True)
    for file in (another, left / another.name, tmp_path / first.name / another.name):
        file.write_text("half of it")
    second = prepare(lake, config, seed=2, datasets=tmp_path).folder
    assert made(tmp_path) - {".variants"} == {first.name, second.name}
    assert another.exists() and not (tmp_path / first.name / another.name).exists()


def test_one_prepare_at_a_time(lake: Lake, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="another prepare is at work here"):
        prepare(lake, CONFIG, seed=3, datasets=tmp_path)
    assert made(tmp_path) == set()


def test_the_small_dataset_has_every_listen(small_dataset: Dataset, small_lake: Lake) -> None:
    listens = all_events(small_lake).filter(pl.col("kind") == "listen")
    assert len(small_dataset.listens) == len(listens)
    got = pl.DataFrame(
        {
            "user_id": np.array(small_dataset.user_ids)[small_dataset.listens.user],
            "track_id": small_dataset.tracks["track_id"].gather(small_dataset.listens.track),
            "played_at": small_dataset.listens.played_at,
        }
    )
    expected = listens.select("user_id", "track_id", pl.col("played_at").dt.timestamp("us"))
    assert got.sort(got.columns).equals(expected.sort(got.columns))
    positions = [small_dataset.targets(period) for period in ("train", "validation", "test")]
    assert sorted(np.concatenate(positions)) == list(range(len(listens)))
