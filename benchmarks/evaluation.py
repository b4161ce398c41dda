"""Evaluation of 10 000 test positions on 60 000 tracks of 80 dimensions: seconds and memory, by kind of model.

Run it with `make bench-eval`. The models predict noise that is drawn before: a point for each position, user by user as
the averages do; a row of scores for each; a row of scores of which nearly all tie at zero, as counts do. Beside them
stand the bare product of queries and tracks, and the comparison of two models in all metrics and slices. Every step is
a process of its own, so that its memory is its own; it holds the libraries, too, as that of the bare product does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fsvae.data.dataset import Dataset, Snapshots
from fsvae.data.listens import Listens
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.features.habits import Past
from fsvae.features.recent_days import RecentDays
from fsvae.features.taste import DaySums
from fsvae.predictions import Predictions
from pipelines.tracking import git_commit

_USERS, _TARGETS, _TRACKS, _DIM = 2_000, 10_000, 60_000, 80
_ROWS = 64
"""Positions that the model of scores predicts at once."""


def main() -> None:
    """Measure every kind of model in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    step = parser.parse_args().step
    if step:
        print(json.dumps(_measured(_STEPS[step])))  # noqa: T201
        return
    table = Table(title=f"{_TARGETS:,} positions of {_USERS:,} users, {_TRACKS:,} tracks of {_DIM} dimensions")
    for heading in ("step", "seconds", "CPU seconds", "peak memory, GiB"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for name in _STEPS:
        command = [sys.executable, "-m", "benchmarks.evaluation", "--step", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        table.add_row(name, *(f"{figure:.2f}" for figure in json.loads(output.splitlines()[-1])))
    console = Console(width=120)
    console.print(table)
    console.print(
        f"make bench-eval · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · {platform.machine()}, "
        f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )


class _Noise:
    """Predicts noise: points [N, D], or the same few rows of scores over and over."""

    def __init__(self, name: str, points: NDArray[np.float32], scores: NDArray[np.float32] | None = None) -> None:
        self.name = name
        self._points, self._scores = points, scores

    def fit(self, dataset: Dataset) -> None: ...

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        targets = dataset.targets("test")
        at_once = _TARGETS // _USERS if self._scores is None else _ROWS
        for i in range(0, len(targets), at_once):
            rows = slice(i, i + at_once)
            part = targets[rows]
            yield Predictions(
                part,
                self._points[rows],
                scores=None if self._scores is None else self._scores[: len(part)],
                normalised=self._scores is not None,
            )


def _points() -> Callable[[], object]:
    dataset, rng = _dataset(), np.random.default_rng(1)
    model = _Noise("points", rng.normal(size=(_TARGETS, _DIM)).astype(np.float32))
    return lambda: evaluate_model(model, dataset, "test")


def _scores() -> Callable[[], object]:
    dataset, rng = _dataset(), np.random.default_rng(1)
    scores = rng.random((_ROWS, _TRACKS), dtype=np.float32)
    model = _Noise("scores", np.zeros((_TARGETS, _DIM), dtype=np.float32), scores)
    return lambda: evaluate_model(model, dataset, "test")


def _ties() -> Callable[[], object]:
    dataset, rng = _dataset(), np.random.default_rng(1)
    scores = np.zeros((_ROWS, _TRACKS), dtype=np.float32)
    scores[np.arange(_ROWS)[:, None], rng.integers(0, _TRACKS, (_ROWS, 5))] = 1.0
    model = _Noise("ties", np.zeros((_TARGETS, _DIM), dtype=np.float32), scores)
    return lambda: evaluate_model(model, dataset, "test")


def _bare_product() -> Callable[[], object]:
    rng = np.random.default_rng(1)
    vectors, queries = _unit(rng, _TRACKS), _unit(rng, _TARGETS)
    rows = 256

    def multiply() -> None:
        for i in range(0, _TARGETS, rows):
            queries[i : i + rows] @ vectors.T

    return multiply


def _bootstrap() -> Callable[[], object]:
    dataset, rng = _dataset(), np.random.default_rng(1)
    results = {
        name: [evaluate_model(_Noise(name, rng.normal(size=(_TARGETS, _DIM)).astype(np.float32)), dataset, "test")]
        for name in ("one", "other")
    }
    return lambda: comparison(results, "one", dataset)


_STEPS = {
    "bare product": _bare_product,
    "points": _points,
    "scores": _scores,
    "scores with ties": _ties,
    "comparison of two models": _bootstrap,
}


def _measured(prepare: Callable[[], Callable[[], object]]) -> tuple[float, float, float]:
    work = prepare()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    seconds = time.perf_counter() - began, time.process_time() - cpu
    return *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _unit(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    vectors = rng.normal(size=(count, _DIM)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _dataset() -> Dataset:
    """Return a dataset of as many listens in training as in the test period, of tracks at random."""
    rng = np.random.default_rng(0)
    vectors = _unit(rng, _TRACKS)
    each = 2 * _TARGETS // _USERS
    listens = Listens(
        offsets=np.arange(_USERS + 1) * each,
        track=rng.integers(0, _TRACKS, _USERS * each).astype(np.int32),
        played_at=np.tile(np.arange(each) * DAY_US, _USERS),
        played_fraction=np.ones(_USERS * each, dtype=np.float32),
    )
    nothing, no_tracks = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return Dataset(
        manifest={
            "fingerprint": "noise",
            "train_until_us": each // 2 * DAY_US,
            "validation_until_us": each // 2 * DAY_US,
        },
        user_ids=[f"u{user}" for user in range(_USERS)],
        listens=listens,
        tracks=pl.DataFrame({"track_index": np.arange(_TRACKS, dtype=np.int32)}),
        vectors=vectors,
        n_catalogue=_TRACKS,
        snapshots=Snapshots(
            nothing, nothing, np.zeros((0, 0), dtype=np.float32), DaySums.of(nothing, no_tracks, nothing, vectors)
        ),
        slow_row=nothing,
        recent=RecentDays.of(Past.nothing()),
    )


if __name__ == "__main__":
    main()
