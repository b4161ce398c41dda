"""A new day, or a late event, recomputes what it touches, and the files are those of a full rebuild."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from lakes import all_events, disk

import fsvae.prepare.user_shards
from fsvae.data.dataset import open_dataset
from fsvae.features.habits import fold
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.events import Day, EventCodes, UserShard, read_events
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare

CONFIG = DatasetConfig(min_count=2, keep=9, track2vec=Track2VecConfig(epochs=1))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".used")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def lake(small_lake: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(disk(small_lake), tmp_path / "lake")
    return Lake(tmp_path / "lake")


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first days of the weeks whose habits were computed; the day behind the last one is always."""
    first_days: list[int] = []

    def counted(*arguments: object) -> object:
        first_days.append(int(arguments[3]))  # type: ignore[call-overload]
        return fold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fsvae.prepare.user_shards, "fold", counted)
    return first_days


def test_days_that_come_one_by_one_make_the_files_of_a_full_rebuild(
    lake: Lake, folds: list[int], tmp_path: Path
) -> None:
    days = lake.days()
    assert days[0] == "2026-01-05" and len(days) == 28
    for number, end in enumerate(["2026-01-20", "2026-01-21", "2026-01-22", "2026-01-23", "2026-02-02"]):
        config = replace(CONFIG, before=end)
        folds.clear()
        step_by_step = prepare(lake, config, 1, tmp_path / "incremental").folder
        worked = len(folds) - 1
        folds.clear()
        at_once = prepare(lake, config, 1, tmp_path / str(number)).folder
        assert contents(disk(step_by_step)) == contents(disk(at_once))
        # Weeks begin on Thursdays, as 1970 did: 2026-01-01, 08, 15, 22, 29.
        assert (worked, len(folds) - 1) == [(3, 3), (1, 3), (1, 3), (1, 4), (2, 5)][number]


def test_a_late_event_makes_the_weeks_behind_it_anew(lake: Lake, folds: list[int], tmp_path: Path) -> None:
    prepare(lake, CONFIG, 1, tmp_path / "incremental")
    late = tmp_path / "late.csv"
    for day, worked in [("2026-01-31", 1), ("2026-01-23", 2), ("2026-01-06", 5)]:
        late.write_text(f"user_id,track_id,played_at\nu00001,t000001,{day}T12:00:01Z\n")
        ingest(lake, SourceConfig(path=str(late)))
        folds.clear()
        made = prepare(lake, CONFIG, 1, tmp_path / "incremental").folder
        assert len(folds) - 1 == worked
        assert contents(disk(made)) == contents(disk(prepare(lake, CONFIG, 1, tmp_path / day).folder))


def test_parts_of_the_users_hold_what_one_part_holds(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the users is that of their buckets, in however many parts they lie."""
    one = open_dataset(prepare(lake, CONFIG, 1, tmp_path / "one").folder)
    monkeypatch.setattr("fsvae.prepare.make_dataset._EVENTS_PER_SHARD", 1_000)
    many = open_dataset(prepare(lake, CONFIG, 1, tmp_path / "many").folder)
    assert one.manifest["parts"] == 1 and many.manifest["parts"] == 16
    assert one.user_ids == many.user_ids and one.manifest["counts"] == many.manifest["counts"]
    for name in ("offsets", "track", "played_at", "played_fraction"):
        assert (getattr(one.listens, name) == getattr(many.listens, name)).all()
    assert (one.snapshots.user == many.snapshots.user).all() and (one.snapshots.day == many.snapshots.day).all()
    assert (one.snapshots.habits == many.snapshots.habits).all()
    for name in ("user_G", "day_G", "counts_GC"):
        assert (getattr(one.recent, name) == getattr(many.recent, name)).all()
    assert (one.vectors == many.vectors).all()


def test_more_parts_than_buckets_hold_the_users_of_one_part(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, before="2026-01-13")
    one = open_dataset(prepare(lake, config, 1, tmp_path / "one").folder)
    monkeypatch.setattr("fsvae.prepare.make_dataset._EVENTS_PER_SHARD", 50)
    prepare(lake, replace(config, before="2026-01-12"), 1, tmp_path / "many")  # the cache is of these parts, too
    many = open_dataset(prepare(lake, config, 1, tmp_path / "many").folder)
    assert many.manifest["parts"] == 128 and many.manifest["counts"] == one.manifest["counts"]
    assert sorted(many.user_ids) == sorted(one.user_ids) != many.user_ids
    for user, name in enumerate(one.user_ids):
        other = many.user_ids.index(name)
        mine, theirs = (slice(*d.listens.offsets[u : u + 2]) for d, u in ((one, user), (many, other)))
        for column in ("track", "played_at", "played_fraction"):
            assert (getattr(one.listens, column)[mine] == getattr(many.listens, column)[theirs]).all()
        rows, others = one.snapshots.user == user, many.snapshots.user == other
        assert (one.snapshots.day[rows] == many.snapshots.day[others]).all()
        assert (one.snapshots.habits[rows] == many.snapshots.habits[others]).all()


def test_slices_of_a_bucket_share_no_user(small_lake: Lake) -> None:
    days = [Day.of(day, entry) for day, entry in sorted(small_lake.manifest.days.items())[:7]]
    events = all_events(small_lake, "2026-01-12")
    (bucket,) = events.group_by("bucket").agg(pl.col("user_id").n_unique()).top_k(1, by="user_id")["bucket"]
    found: list[str] = []
    rows = 0
    for number in range(4):
        codes = EventCodes()
        some = read_events(small_lake.root, days, UserShard((bucket, bucket + 1), number, 4), codes).events
        assert set(some.user) == set(range(len(codes.users)))
        found += codes.users.known.to_pylist()
        rows += len(some)
    expected = events.filter(bucket=bucket)
    assert sorted(found) == sorted(expected["user_id"].unique()) and len(found) > 2
    assert rows == len(expected)
