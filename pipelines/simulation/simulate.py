"""The verb `simulate`: write an invented listening log, one Parquet file a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fsvae.errors import UserError
from fsvae.limits import check
from fsvae.progress import Stage
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary
from pipelines.simulation.library_config import LibraryConfig
from pipelines.simulation.listening import Listening
from pipelines.simulation.simulate_config import SimulateConfig
from pipelines.simulation.simulated_events import DAY_MS, KINDS, Events
from pipelines.simulation.users import draw_users
from pipelines.simulation.world import World, build_world
from pipelines.simulation.writing import DayWriter

__all__ = ["SimulateConfig", "SimulationSummary", "simulate"]

BLOCK = 1 << 16
"""Number of users simulated together: enough for long arrays, few enough for the processor's cache."""
_SETTINGS = b"fsvae.simulate"
"""Key of the Parquet metadata with the settings of a file, so that two worlds never share a folder."""


@dataclass(frozen=True)
class SimulationSummary(Summary):
    """The outcome of a simulation."""

    folder: Path
    files: int
    events: int
    listens: int
    skips: int
    likes: int
    saves: int
    verb = "simulate"

    def lines(self) -> list[str]:
        """Return the counts and the path of the log."""
        return [
            f"{count(self.listens, 'listen')}, {count(self.skips, 'skip')}, {self.likes + self.saves:,} likes and "
            f"saves on {count(self.files, 'day')} → {self.folder}"
        ]


def simulate(config: SimulateConfig, out_dir: Path, progress: Stage = lambda stage, share: None) -> SimulationSummary:
    """Write `events-YYYY-MM-DD.parquet` (RAW_EVENTS, sorted by played_at) for every day of the log to `out_dir`.

    Raises:
        UserError: a value of the config is invalid, or `out_dir` holds days of another log.
    """
    check(config, "simulate.")
    first_day = date.fromisoformat(config.start)
    paths = [out_dir / f"events-{first_day + timedelta(days=day)}.parquet" for day in range(config.days)]
    settings = _text_of(config)
    _check_folder(out_dir, paths, settings)
    out_dir.mkdir(parents=True, exist_ok=True)

    world_seed, users_seed, days_seed = np.random.SeedSequence(config.seed).spawn(3)
    world = build_world(world_seed, config)
    blocks = _blocks(users_seed, world, config)
    first_midnight = datetime.combine(first_day, datetime.min.time(), UTC)
    writer = DayWriter(world, config.users, int(first_midnight.timestamp()) * 1000, {_SETTINGS: settings})
    counts, overflow = np.zeros(len(KINDS), np.int64), Events.none()
    days = zip(paths, days_seed.spawn(config.days), strict=True)
    for day, (path, seed) in enumerate(days):
        events = Events.concat([overflow, *_day(day, blocks, world, seed)])
        today, later = events.in_order(until=(day + 1) * DAY_MS)
        # Events past midnight are written with the following days.
        overflow = events.take(later)
        counts += np.bincount(events.kind[today], minlength=len(KINDS))
        writer.write(events, today, path)
        progress(path.stem, (day + 1) / config.days)
    listens, skips, likes, saves = counts.tolist()
    return SimulationSummary(out_dir, config.days, int(counts.sum()), listens, skips, likes, saves)


def _text_of(config: SimulateConfig) -> str:
    """Return the settings as JSON, without a group that came later while it is as before: old logs stay the same."""
    values = asdict(config)
    if config.library == LibraryConfig():
        del values["library"]
    return json.dumps(values)


def _check_folder(out_dir: Path, paths: list[Path], settings: str) -> None:
    strangers = sorted({path.name for path in out_dir.glob("events-*.parquet")} - {path.name for path in paths})
    if strangers:
        raise UserError(f"{out_dir} holds {strangers[0]}, which is no day of this log. Choose an empty folder.")
    present = [path for path in paths if path.exists()]
    if present and (pq.read_schema(present[0]).metadata or {}).get(_SETTINGS) != settings.encode():
        raise UserError(f"{out_dir} holds a log that was simulated with other settings. Choose another workdir=FOLDER.")


def _blocks(seed: np.random.SeedSequence, world: World, config: SimulateConfig) -> list[Listening]:
    count = -(-config.users // BLOCK)
    firsts = [config.users * block // count for block in range(count + 1)]
    return [
        Listening(world, draw_users(block_seed, world, config, end - first), config, first)
        for (first, end), block_seed in zip(pairwise(firsts), seed.spawn(count), strict=True)
    ]


def _day(day: int, blocks: list[Listening], world: World, seed: np.random.SeedSequence) -> Iterator[Events]:
    available = world.available(day)
    for block, block_seed in zip(blocks, seed.spawn(len(blocks)), strict=True):
        yield from block.day(day, available, block_seed)
