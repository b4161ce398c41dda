"""Ingest and prepare, killed at any moment: what is left can be read, and the next run makes the same files of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from lakes import all_events, contents, disk
from victims import Job, killed_after, killed_before_file, undisturbed

from fsvae.data.dataset import open_dataset
from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.storage import Folder
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.simulation.simulate import SimulateConfig, simulate

KEY = ["user_id", "track_id", "played_at", "kind"]
CONFIG = DatasetConfig(min_count=2, keep=1, track2vec=Track2VecConfig(epochs=2))


def kills(job: Callable[[Path], Job], root: Path, moments: int, files: int, seed: int) -> Iterator[tuple[str, Path]]:
    """Run a job again and again, each time in another folder, and kill it; yield when that was and the folder.

    Args:
        job: of a folder.
        root: where the folders are made.
        moments: how often it is killed at random, at any moment of an undisturbed run.
        files: how often it is killed right before it puts a file in place; one of them is the last.
        seed: of the moments and the files.
    """
    runs = [undisturbed(job(root / f"undisturbed-{number}")) for number in range(3)]
    seconds, n_files = min(run.seconds for run in runs), runs[-1].files
    chance = random.Random(seed)
    for share in [chance.random() for _ in range(moments)]:
        folder = root / f"after-{share:.3f}"
        while not killed_after(job(folder), share * seconds):
            shutil.rmtree(folder)
            seconds *= 0.9  # a run takes less time than it did
        yield f"killed after {share:.3f} of {seconds:.3f} s", folder
    for number in [*chance.sample(range(1, n_files), files - 1), n_files]:
        folder = root / f"before-{number}"
        assert killed_before_file(job(folder), number)
        yield f"killed before file {number} of {n_files}", folder


class Log(NamedTuple):
    """A folder of logs, and the rows that each of them should come to in the lake."""

    folder: Path
    rows: dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Three simulated days, and one late file with a reject, duplicates and events of all those days."""
    folder = tmp_path_factory.mktemp("log")
    simulate(SimulateConfig(users=20, tracks=100, artists=20, genres=5, days=3), folder)
    rows = {path.name: pl.read_parquet(path).select(KEY) for path in folder.iterdir()}
    late = [(f"late{day}", "t", f"2026-01-0{day}T{hour}:00:00Z") for day in (5, 6, 7) for hour in ("00", "12")]
    lines = [",".join(row) for row in [*late, *late[::2]]]
    (folder / "late.csv").write_text("\n".join(["user_id,track_id,played_at", *lines, "x"]))
    rows["late.csv"] = pl.DataFrame(late, schema=KEY[:3], orient="row").with_columns(
        pl.col("played_at").str.to_datetime(time_unit="us", time_zone="UTC"), kind=pl.lit("listen")
    )
    return Log(folder, rows)


@pytest.fixture(scope="module")
def lake(log: Log, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake") / "lake")
    ingest_job(log, disk(lake))()
    return Lake(lake.root)


def ingest_job(log: Log, root: Path) -> Job:
    return partial(ingest, Lake(root), SourceConfig(path=str(log.folder), max_reject_share=0.2))


def assert_holds_its_logs(root: Path, log: Log) -> None:
    """The lake holds each row of the logs that it says it took once, and no other."""
    lake = Lake(root)
    taken = [log.rows[entry["log"]] for entry in lake.manifest.logs.values()]
    if taken:
        assert all_events(lake).select(KEY).sort(KEY).equals(pl.concat(taken).sort(KEY))
        assert lake.read_tracks()["track_id"].to_list() == sorted(set(pl.concat(taken)["track_id"]))
    else:
        assert not lake.manifest.days


def test_ingest_killed_at_any_moment(log: Log, lake: Lake, tmp_path: Path) -> None:
    whole = contents(disk(lake))
    assert {entry["log"] for entry in lake.manifest.logs.values()} == set(log.rows)
    for when, root in kills(partial(ingest_job, log), tmp_path, moments=25, files=10, seed=3):
        assert_holds_its_logs(root, log)
        ingest_job(log, root)()
        assert contents(root) == whole, when
        assert_holds_its_logs(root, log)


@pytest.mark.parametrize("before", ["nothing", "another dataset"])
def test_prepare_killed_at_any_moment(before: str, lake: Lake, tmp_path: Path) -> None:
    """The dataset that was there before stays the current one, and whole, until the new one is; then it goes."""
    first = prepare(lake, CONFIG, 2, tmp_path / "first").folder
    made = prepare(lake, CONFIG, 1, tmp_path / "made").folder
    whole = contents(tmp_path / "made")
    datasets = {folder.name: contents(disk(folder)) for folder in (first, made)}

    def job(root: Path) -> Job:
        if before == "another dataset":
            shutil.copytree(tmp_path / "first", root)
        return partial(prepare, lake, CONFIG, 1, root)

    for when, root in kills(job, tmp_path / "killed", moments=13, files=5, seed=4):
        for manifest in root.glob("*/manifest.json"):  # whatever has one is a whole dataset
            files = {name: data for name, data in contents(manifest.parent).items() if not name.endswith(".tmp")}
            assert files == datasets[manifest.parent.name], when
        if before == "another dataset" or (root / "CURRENT").exists():
            assert open_dataset(root).fingerprint in datasets
        else:
            with pytest.raises(UserError, match="no prepared dataset"):
                open_dataset(root)
        prepare(lake, CONFIG, 1, root)
        assert contents(root) == whole, when


def test_a_dataset_holds_each_listen_once(log: Log, lake: Lake, tmp_path: Path) -> None:
    dataset = open_dataset(disk(prepare(lake, CONFIG, 1, tmp_path).folder))
    listens, rows = dataset.listens, pl.concat(log.rows.values()).filter(kind="listen")
    found = pl.DataFrame(
        {
            "user_id": pl.Series(dataset.user_ids).gather(listens.user),
            "track_id": dataset.tracks["track_id"].gather(listens.track),
            "played_at": pl.Series(listens.played_at).cast(pl.Datetime("us", "UTC")),
        }
    )
    assert found.sort(KEY[:3]).equals(rows.select(KEY[:3]).sort(KEY[:3]))


def test_prepare_killed_while_it_deletes_an_old_one(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a deleted dataset must not keep the name that it had: its files are made again when they are wanted."""
    first = prepare(lake, CONFIG, seed=1, datasets=tmp_path).folder
    was = contents(disk(first))

    def stopped(folder: Folder) -> None:
        if folder.exists("tracks.parquet"):
            folder.delete("slow/part-00.parquet")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Folder, "delete_all", stopped)
        prepare(lake, CONFIG, seed=2, datasets=tmp_path)
    assert prepare(lake, CONFIG, seed=1, datasets=tmp_path).folder == first
    assert contents(disk(first)) == was
