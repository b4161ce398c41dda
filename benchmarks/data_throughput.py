"""Ingest, prepare and the memory, in events a second and GiB, beside polars doing only the sort, sessions and a write.

Run it with `make bench-data` (EVENTS=100000000 for another size). Every step is a process of its own, so that its
memory is its own; the memory is that of the whole tree of processes, read 20 times a second. Track vectors are left out
of prepare's time: they are gensim's work, which grows with its epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Measured, measure
from pipelines.tracking import git_commit

_EVENTS_A_USER = 277
"""Of the simulated log in its 28 days."""
_MOST_REMEMBERED = 10_000_000
"""Number of events up to which the memory is counted: it takes about a kilobyte a listen, beside the tables."""


def main() -> None:
    """Simulate a log of about so many events, run every step on it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--workdir", default="", help="keep everything there; by default in a temporary folder")
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(_STEPS[arguments.step](arguments.workdir, arguments.events)))  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as folder:
        workdir = arguments.workdir or folder
        results = {}
        for step in _STEPS:
            if step == "remember" and arguments.events > _MOST_REMEMBERED:
                continue
            results[step] = _measure(step, workdir, arguments.events)
            print(f"{step}: {results[step][0].seconds:,.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    events = int(results["ingest"][1]["events"])
    table = Table(title=f"{events:,} simulated events on 28 days")
    for heading in ("step", "seconds", "events/s", "peak memory, GiB"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for step, (measured, said) in results.items():
        seconds = said.get("seconds", measured.seconds)
        table.add_row(step, f"{seconds:,.1f}", f"{events / seconds:,.0f}", f"{measured.peak_gib:.2f}")
    console = Console(width=120)
    console.print(table)
    ours, polars = results["prepare"][1]["seconds"], results["polars"][1]["seconds"]
    console.print(f"prepare without track vectors takes {ours / polars:.2f} times the time of polars.")
    console.print(
        f"make bench-data EVENTS={arguments.events} · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )


def _measure(step: str, workdir: str, events: int) -> tuple[Measured, dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.data_throughput", "--step", step, "--workdir", workdir]
    measured = measure([*command, "--events", str(events)])
    return measured, json.loads(measured.output.splitlines()[-1])


def _simulate(workdir: str, events: int) -> dict[str, float]:
    from pipelines.config.compose import load_config
    from pipelines.simulation.simulate import simulate

    users = max(100, round(events / _EVENTS_A_USER))
    tracks = max(3_000, min(200_000, users * 2))
    config = load_config(
        [f"simulate.users={users}", f"simulate.tracks={tracks}", f"simulate.artists={tracks // 10}"]
    ).simulate
    began = time.perf_counter()
    summary = simulate(config, Path(workdir) / "raw")
    return {"events": summary.events, "seconds": time.perf_counter() - began}


def _ingest(workdir: str, events: int) -> dict[str, float]:
    from pipelines.config.compose import load_config
    from pipelines.ingest.ingest import ingest
    from pipelines.workspace import Workspace

    workspace = Workspace(load_config([f"workdir={workdir}"]))
    began = time.perf_counter()
    summary = ingest(workspace.lake(), workspace.config.source)
    return {"events": summary.counts.taken, "seconds": time.perf_counter() - began}


def _prepare(workdir: str, events: int) -> dict[str, float]:
    from pipelines.config.compose import load_config
    from pipelines.prepare.prepare import prepare
    from pipelines.runtime.engine import engine_of
    from pipelines.workspace import Workspace

    workspace = Workspace(
        load_config(
            # Few tracks in the catalogue, one epoch: the time of track vectors is not counted.
            [f"workdir={workdir}", "dataset.track2vec.epochs=1", f"dataset.min_count={max(50, events // 5_000)}"]
        )
    )
    config = workspace.config
    spent: dict[str, float] = {}
    stage_now, since = "", time.perf_counter()

    def progress(stage: str, share: float) -> None:
        nonlocal stage_now, since
        moment = time.perf_counter()
        spent[stage_now] = spent.get(stage_now, 0.0) + moment - since
        stage_now, since = stage, moment

    with engine_of(config.engine) as engine:
        prepare(workspace.lake(), config.dataset, config.seed, workspace.datasets, progress, engine)
    return {"seconds": sum(seconds for stage, seconds in spent.items() if stage != "track vectors")} | spent


def _polars(workdir: str, events: int) -> dict[str, float]:
    """Sort the listens by user and time, mark where sessions begin, write the columns of a prepared dataset."""
    import polars as pl

    began = time.perf_counter()
    played = (pl.col("ms_played") / pl.col("duration_ms").replace(0, None)).clip(0.0, 1.0).fill_null(1.0)
    pause = pl.col("played_at").diff() > pl.duration(minutes=30)
    (
        pl.scan_parquet(f"{workdir}/lake/events/*/*.parquet", hive_partitioning=False)
        .filter(pl.col("kind") == "listen")
        .select("user_id", "track_id", "played_at", played.cast(pl.Float32).alias("played_fraction"))
        .sort("user_id", "played_at", maintain_order=True)
        .with_columns((pause | (pl.col("user_id") != pl.col("user_id").shift())).fill_null(True).alias("new_session"))
        .sink_parquet(f"{workdir}/polars.parquet", compression="zstd")
    )
    return {"seconds": time.perf_counter() - began}


def _remember(workdir: str, events: int) -> dict[str, float]:
    """Count what the model's memory held before every listen, as a training does before its first epoch."""
    from fsvae.data.dataset import open_dataset
    from fsvae.memory.supports import remember
    from pipelines.config.compose import load_config
    from pipelines.workspace import Workspace

    dataset = open_dataset(Workspace(load_config([f"workdir={workdir}"])).datasets)
    began = time.perf_counter()
    remember(dataset)
    return {"seconds": time.perf_counter() - began}


_STEPS = {"simulate": _simulate, "ingest": _ingest, "prepare": _prepare, "polars": _polars, "remember": _remember}


if __name__ == "__main__":
    main()
