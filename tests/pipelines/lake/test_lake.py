"""The lake: one writer at a time, one schema version, and whole where a writer stops half-way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from lakes import all_events, contents, disk

from fsvae.errors import UserError
from fsvae.logs.source_config import SourceConfig
from fsvae.storage import Folder
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake


@pytest.fixture(scope="module")
def log(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight simulated days and one late file of rejects, duplicates and events of all those days."""
    folder = tmp_path_factory.mktemp("log")
    for path in sorted(small_log.iterdir())[:8]:
        shutil.copy(path, folder)
    late = [f"late{day},t,2026-01-{day:02d}T{hour:02d}:00:00Z" for day in range(5, 13) for hour in (0, 0, 12)]
    (folder / "late.csv").write_text("user_id,track_id,played_at\n" + "\n".join([*late, "x"]))
    return folder


@pytest.fixture(scope="module")
def undisturbed(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("undisturbed") / "lake")
    ingest(lake, SourceConfig(path=str(log), max_reject_share=0.5))
    return lake


@pytest.mark.parametrize("step", ["write_day", "write_tracks", "commit"])
def test_stopped_before_the_commit_nothing_of_a_log_is_in_the_lake(
    step: str, undisturbed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lake"
    shutil.copytree(disk(undisturbed), root)
    days = [f"u,new,2026-01-{day:02d}" for day in range(5, 13)]
    (tmp_path / "log.csv").write_text("user_id,track_id,played_at\n" + "\n".join(days))
    kept = getattr(Lake, step)

    def stopped(lake: Lake, *arguments: object) -> None:
        if step != "write_day" or arguments[0] != "2026-01-05":  # the first day is written
            raise KeyboardInterrupt
        kept(lake, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lake, step, stopped)
        ingest(Lake(root), SourceConfig(path=str(tmp_path / "log.csv")))
    assert contents(root) == contents(disk(undisturbed))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder, path = Folder.at(tmp_path), tmp_path / "manifest.json"
    folder.write_json(path.name, {"b": 1, "a": 2})
    assert list(json.loads(path.read_text()).items()) == [("a", 2), ("b", 1)]
    with pytest.raises(TypeError):
        folder.write_json(path.name, {"a": list(range(100_000)), "b": object()})
    assert json.loads(path.read_text()) == {"a": 2, "b": 1}


def test_what_a_killed_writer_left_is_swept_and_never_read(undisturbed: Lake, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    shutil.copytree(disk(undisturbed), root)
    day = disk(undisturbed) / undisturbed.manifest.days["2026-01-05"]["path"]
    for left in ("events/date=2026-01-05/part-0.parquet", "events/date=2030-01-01/part-1.parquet", "rejects/0.parquet"):
        (root / left).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(day, root / left)
    (root / ".staging").mkdir()
    (root / ".staging" / "writing.parquet").write_bytes(b"half")
    (root / ".manifest.json.77.tmp").write_text("{")
    assert all_events(Lake(root)).equals(all_events(undisturbed))
    with Lake(root).writing() as staging:
        assert list(staging.iterdir()) == []
    assert contents(root) == contents(disk(undisturbed))


def test_one_writer_at_a_time(undisturbed: Lake, log: Path, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    root.mkdir()
    with FileLock(root / ".lock"), pytest.raises(UserError, match="another ingest is at work here"):
        ingest(Lake(root), SourceConfig(path=str(log), max_reject_share=0.5))
    assert not (root / "manifest.json").exists()
    ingest(Lake(root), SourceConfig(path=str(log), max_reject_share=0.5))
    assert contents(root) == contents(disk(undisturbed))


def test_a_writer_sees_what_another_committed_after_it_was_opened(tmp_path: Path) -> None:
    opened_early = Lake(tmp_path / "lake")
    for name, lake in [("a", Lake(tmp_path / "lake")), ("b", opened_early)]:
        (tmp_path / f"{name}.csv").write_text(f"user_id,track_id,played_at\nu,{name},2026-01-01\n")
        ingest(lake, SourceConfig(path=str(tmp_path / f"{name}.csv")))
    assert all_events(Lake(tmp_path / "lake"))["track_id"].to_list() == ["a", "b"]


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UserError, match=r"manifest\.json: schema_version is 99, this program reads 2"):
        Lake(tmp_path)


def test_reading_before_a_day(undisturbed: Lake, tmp_path: Path) -> None:
    days = sorted(undisturbed.manifest.days)
    rows = undisturbed.manifest.days[days[0]]["rows"]
    assert len(all_events(undisturbed, days[1])) == rows
    assert undisturbed.days(days[2]) == days[:2] and undisturbed.days() == days
    with pytest.raises(UserError, match=f"holds no events before {days[0]}"):
        all_events(undisturbed, days[0])
    with pytest.raises(UserError, match="holds no events"):
        all_events(Lake(tmp_path))
    assert undisturbed.read_day("2031-01-01") is None
