"""Wherever the pieces run, the files are the same: processes, a Ray cluster of two nodes, one that loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from lakes import disk

from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.runtime.engine import Engine, LocalEngine, RayEngine, engine_of
from pipelines.runtime.engine_config import EngineConfig

CONFIG = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=1))
PARTS = 16
T = TypeVar("T")
R = TypeVar("R")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".used")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsvae.prepare.make_dataset._EVENTS_PER_SHARD", 1_000)


@pytest.fixture(scope="module")
def made(small_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Engine], dict[str, bytes]]:
    def make(engine: Engine) -> dict[str, bytes]:
        with engine:
            return contents(
                disk(prepare(small_lake, CONFIG, 1, tmp_path_factory.mktemp("datasets"), engine=engine).folder)
            )

    return make


@pytest.fixture
def here(made: Callable[[Engine], dict[str, bytes]]) -> dict[str, bytes]:
    files = made(LocalEngine(workers=1))
    assert sum(name.startswith("sequences/") for name in files) == PARTS
    return files


def test_processes(made: Callable[[Engine], dict[str, bytes]], here: dict[str, bytes]) -> None:
    assert made(LocalEngine(workers=2)) == here


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_the_tasks_and_a_dead_process_is_told() -> None:
    seen: list[tuple[int, int]] = []
    with LocalEngine(2) as engine:
        assert engine.map(square, range(6), lambda *done: seen.append(done)) == [0, 1, 4, 9, 16, 25]
        assert seen == [(number, 6) for number in range(1, 7)]
        with pytest.raises(UserError, match="a worker process was killed"):
            engine.map(die, range(6), lambda *done: None)
        assert engine.map(square, range(2), lambda *done: None) == [0, 1]


def wait_for(flag: Path | None) -> str:
    while flag is not None and not flag.exists():
        time.sleep(0.01)
    return "done" if flag is None else "done at last"


def test_results_can_be_had_as_they_come(tmp_path: Path) -> None:
    """The first task is done only after the second one's result was had."""
    with LocalEngine(2) as engine:
        results = engine.as_they_come(wait_for, [tmp_path / "flag", None])
        assert next(results) == (1, "done")
        (tmp_path / "flag").touch()
        assert list(results) == [(0, "done at last")]


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """It is killed while both of its workers are at work; they would otherwise go on, and wait for more for ever."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert len(set(workers)) == 2
        parent.kill()
        parent.communicate(timeout=60)  # ends when the last process that could write there is gone


_PARENT = """
import os, time
from pipelines.runtime.engine import LocalEngine

def work(number):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with LocalEngine(2) as engine:
        engine.map(work, [1, 2], lambda *done: None)
"""


def test_the_config_names_an_engine() -> None:
    assert isinstance(engine_of(EngineConfig("local", 3)), LocalEngine)
    assert isinstance(engine_of(EngineConfig("ray")), RayEngine)
    with pytest.raises(UserError, match=r"engine.name=rey is not one of local, ray\. Did you mean 'ray'"):
        engine_of(EngineConfig("rey"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.e2e
def test_two_nodes_of_ray(small_lake: Lake, here: dict[str, bytes], cluster: str, tmp_path: Path) -> None:
    import ray

    with RayEngine(cluster) as engine:
        assert contents(disk(prepare(small_lake, CONFIG, 1, tmp_path, engine=engine).folder)) == here
        assert len(ray.nodes()) == 2


@pytest.mark.e2e
def test_a_lost_worker_changes_nothing(small_lake: Lake, here: dict[str, bytes], cluster: str, tmp_path: Path) -> None:
    """The first process that makes a part dies of it, in the middle if that takes longer than the alarm."""
    lost = tmp_path / "lost"

    class Losing(RayEngine):
        def as_they_come(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
            def dying_once(task: T) -> R:
                with suppress(FileExistsError):
                    lost.touch(exist_ok=False)
                    signal.setitimer(signal.ITIMER_REAL, 0.02)  # nobody handles it, so it ends the process
                    function(task)
                    signal.pause()
                return function(task)

            return super().as_they_come(dying_once if function.__name__ == "make_shard" else function, tasks)

    with Losing(cluster) as engine:
        assert contents(disk(prepare(small_lake, CONFIG, 1, tmp_path / "datasets", engine=engine).folder)) == here
    assert lost.exists()
