"""A new day, or a late event, recomputes what it touches, and the files are those of a full rebuild."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from lakes import disk

import pipelines.prepare.user_shards
from fsvae.data.dataset import open_dataset
from fsvae.features.habits import fold
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.dataset_config import DatasetConfig
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

    monkeypatch.setattr(pipelines.prepare.user_shards, "fold", counted)
    return first_days


def test_days_that_come_one_by_one_make_the_files_of_a_full_rebuild(
    lake: Lake, folds: list[int], tmp_path: Path
) -> None:
    days = lake.days()
    assert days[0] == "2026-01-05" and len(days) == 28
    for number, end in enumerate(["2026-01-20", "2026-01-21", "2026-01-22", "2026-01-23", "2026-02-02"]):
        config = replace(CONFIG, before=end)
        folds.clear()
        step_by_step = prepare(lake, config, 1, tmp_path / "incremental")
        worked = len(folds) - 1
        folds.clear()
        at_once = prepare(lake, config, 1, tmp_path / str(number))
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
        made = prepare(lake, CONFIG, 1, tmp_path / "incremental")
        assert len(folds) - 1 == worked
        assert contents(disk(made)) == contents(disk(prepare(lake, CONFIG, 1, tmp_path / day)))


def test_parts_of_the_users_hold_what_one_part_holds(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the users is that of their buckets, in however many parts they lie."""
    one = open_dataset(prepare(lake, CONFIG, 1, tmp_path / "one"))
    monkeypatch.setattr("pipelines.prepare.prepare._EVENTS_PER_SHARD", 1_000)
    many = open_dataset(prepare(lake, CONFIG, 1, tmp_path / "many"))
    assert one.manifest["parts"] == 1 and many.manifest["parts"] == 16
    assert one.user_ids == many.user_ids and one.manifest["counts"] == many.manifest["counts"]
    for name in ("offsets", "track", "played_at", "played_fraction"):
        assert (getattr(one.listens, name) == getattr(many.listens, name)).all()
    assert (one.snapshots.user == many.snapshots.user).all() and (one.snapshots.day == many.snapshots.day).all()
    assert (one.snapshots.habits == many.snapshots.habits).all()
    assert (one.vectors == many.vectors).all()
