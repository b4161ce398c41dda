"""Prepare, killed at any moment: nothing half-made can be opened, and the next run makes the same files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lakes import disk

from fsvae.data.dataset import open_dataset
from fsvae.errors import UserError
from fsvae.features.track2vec import Track2VecConfig
from fsvae.storage import Folder
from pipelines.lake import Lake
from pipelines.prepare import DatasetConfig, prepare

CONFIG = DatasetConfig(min_count=2, keep=1, track2vec=Track2VecConfig(epochs=2))
CHILD = """
import sys
from pathlib import Path
from fsvae.features.track2vec import Track2VecConfig
from fsvae.storage import Folder
from pipelines.lake import Lake
from pipelines.prepare import DatasetConfig, prepare

config = DatasetConfig(min_count=2, keep=1, track2vec=Track2VecConfig(epochs=2))
prepare(Lake(Path(sys.argv[1])), config, 1, Path(sys.argv[2]), lambda stage, share: print(stage, flush=True))
"""


def contents(root: Path) -> dict[str, bytes]:
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith((".lock", ".used")))
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def kill_in(stage: str, seconds: float, lake: Lake, datasets: Path) -> bool:
    """Run a prepare and kill it some time after it entered a stage; return whether it was still running."""
    command = [sys.executable, "-c", CHILD, lake.root.path, str(datasets)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() not in (stage, ""):
            pass
        try:
            child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
        return child.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(small_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    datasets = tmp_path_factory.mktemp("undisturbed")
    prepare(small_lake, CONFIG, seed=1, datasets=datasets)
    return contents(datasets)


def test_killed_at_any_moment_the_next_run_makes_the_same_files(
    small_lake: Lake, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    chance = random.Random(3)
    killed = 0
    stages = ["counting", "counting", "users", "users", "track vectors", "track vectors"]
    for attempt, stage in enumerate(stages):
        datasets = tmp_path / str(attempt)
        killed += kill_in(stage, chance.uniform(0, 0.15), small_lake, datasets)
        if (datasets / "CURRENT").exists():
            open_dataset(datasets)
        else:
            with pytest.raises(UserError, match="no prepared dataset"):
                open_dataset(datasets)
        for path in datasets.glob("*/manifest.json"):  # whatever has a manifest is a whole dataset
            open_dataset(path.parent)
        prepare(small_lake, CONFIG, seed=1, datasets=datasets)
        assert contents(datasets) == undisturbed
    assert killed >= 2


def test_killed_while_another_is_current_that_one_stays(
    small_lake: Lake, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    current = prepare(small_lake, CONFIG, seed=2, datasets=tmp_path)
    was = contents(disk(current))
    assert kill_in("track vectors", 0, small_lake, tmp_path)
    assert open_dataset(tmp_path).fingerprint == current.name and contents(disk(current)) == was
    prepare(small_lake, CONFIG, seed=1, datasets=tmp_path)
    assert contents(tmp_path) == undisturbed


def test_killed_while_it_deletes_an_old_one(small_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a deleted dataset must not keep the name that it had: its files are made again when they are wanted."""
    first = prepare(small_lake, CONFIG, seed=1, datasets=tmp_path)
    was = contents(disk(first))

    def stopped(folder: Folder) -> None:
        if folder.exists("tracks.parquet"):
            folder.delete("slow/part-00.parquet")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Folder, "delete_all", stopped)
        prepare(small_lake, CONFIG, seed=2, datasets=tmp_path)
    assert prepare(small_lake, CONFIG, seed=1, datasets=tmp_path) == first
    assert contents(disk(first)) == was
