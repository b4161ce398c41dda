"""Prepare: the lake → a prepared dataset (tracks, vectors, sequences, slow snapshots, manifest).

A dataset's folder is named by what it is made of and is a dataset once its manifest is there, the last file to be
written; CURRENT names the newest. So a killed run leaves nothing that can be opened, and the next run makes the same
files. Memory is bounded by one part of the users a worker (`pipelines.prepare.user_shards`), and else by the tracks.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fsvae.data.dataset import current_dataset, is_prepared, shard_name
from fsvae.errors import UserError
from fsvae.schema import DATASET_TRACKS, SCHEMA_VERSION
from fsvae.storage import Folder
from pipelines.lake.events import Day
from pipelines.lake.lake import Lake
from pipelines.prepare.catalogue import catalogue, cuts
from pipelines.prepare.dataset_config import DatasetConfig
from pipelines.prepare.datasets import make_current
from pipelines.prepare.listen_counts import DayCounts, DayTask, count_day
from pipelines.prepare.track_space import make_space
from pipelines.prepare.user_shards import TRACK_IDS, ShardResult, ShardTask, make_shard, user_shards
from pipelines.runtime.engine import Engine, LocalEngine
from pipelines.runtime.files import fingerprint, in_schema, write_parquet
from pipelines.runtime.locks import held

_EVENTS_PER_SHARD = 1_000_000
"""About so many events go into one part of the users, but for a user with more: a user is never cut."""


Progress = Callable[[str, float], None]
"""Called with the stage's name and the share of the whole that is done."""


def prepare(
    lake: Lake,
    config: DatasetConfig,
    seed: int,
    datasets: str | Path | Folder,
    progress: Progress = lambda stage, share: None,
    engine: Engine | None = None,
) -> Folder:
    """Make the prepared dataset of a lake and config, unless it is there already, and point CURRENT at it.

    Args:
        lake: what to prepare.
        config: how.
        seed: of the track vectors.
        datasets: the folder of all datasets; their common cache lies there too.
        progress: told how far it is.
        engine: where the pieces run; by default in this process.

    Raises:
        UserError: the lake holds no events, the split leaves a period empty, another prepare is running, or the
            dataset whose track space is gone on from was deleted meanwhile.
    """
    if config.before:
        try:
            config = replace(config, before=date.fromisoformat(config.before).isoformat())
        except ValueError as error:
            raise UserError(f"dataset.before: '{config.before}' is not a day such as 2026-01-31.") from error
    days = lake.days(config.before or None)
    config = replace(config, before="")  # the days, whose checksums name the dataset, say all of it
    made_of = {
        "schema_version": SCHEMA_VERSION,
        "lake": fingerprint(
            [
                {day: lake.manifest.days[day]["checksum"] for day in days},
                lake.manifest.tracks,
                lake.manifest.playlists,
                lake.manifest.embeddings,
            ]
        ),
        "config": {name: value for name, value in asdict(config).items() if name != "keep"},
        "seed": seed,
    }
    folder = Folder.at(datasets)
    job = _Job(lake, days, config, seed, folder, progress, engine or LocalEngine(workers=1))
    with held(folder, "prepare"):
        continues = _continued(job, made_of) if config.continue_space else ""
        made_of["continues"] = continues
        name = fingerprint(made_of)
        if not is_prepared(folder / name):
            (folder / name).delete_all()
            made = _make(job, name, continues)
            (folder / name).write_json("manifest.json", {"fingerprint": name, **made_of, **made})
        make_current(folder, name, config.keep)
    progress("done", 1.0)
    return folder / name


@dataclass(frozen=True)
class _Job:
    """What a dataset is made of, and where; days are counted when a count is first asked for."""

    lake: Lake
    days: list[str]
    config: DatasetConfig
    seed: int
    datasets: Folder
    progress: Progress
    engine: Engine

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Return what the lake's manifest says of each day."""
        return [self.lake.manifest.days[day] for day in self.days]

    @property
    def cache(self) -> Folder:
        """Return the folder of what datasets have in common."""
        return self.datasets / ".cache"

    @property
    def count_files(self) -> list[str]:
        """Return the file of the cache with the counts of each day."""
        return [f"count-{entry['checksum']}.parquet" for entry in self.entries]

    @cached_property
    def counts(self) -> DayCounts:
        """Return the listens of each day and track."""
        self.progress("counting", 0.0)
        tasks = [
            DayTask(self.lake.root, entry["path"], self.cache, name)
            for entry, name in zip(self.entries, self.count_files, strict=True)
        ]
        listens = self.engine.map(count_day, tasks, lambda done, of: self.progress("counting", 0.1 * done / of))
        return DayCounts(self.lake, self.days, self.cache, self.count_files, listens)

    @cached_property
    def cuts(self) -> tuple[int, int]:
        """Return where the training and the validation period end [us]."""
        return cuts(self.counts, self.config)


def _continued(job: _Job, made_of: dict[str, Any]) -> str:
    """Return the name of the dataset whose track space the new one goes on from; empty: it begins a space of its own.

    The same command again goes on from the same one as before. Else it is the current one, unless that one's training
    period ends later than the new one's: its vectors would tell of the time that is to be predicted.
    """
    folders = [job.datasets / name for name in job.datasets.folders() if not name.startswith(".")]
    manifests = {folder.name: folder.read_json("manifest.json") for folder in filter(is_prepared, folders)}
    for manifest in manifests.values():
        if all(manifest.get(key) == value for key, value in made_of.items()):
            return str(manifest["continues"])
    current = current_dataset(job.datasets)
    if current is None or manifests[current.name]["schema_version"] != SCHEMA_VERSION:
        return ""
    return current.name if manifests[current.name]["train_until_us"] <= job.cuts[0] else ""


def _make(job: _Job, name: str, continues: str) -> dict[str, Any]:
    """Write all files of a dataset but its manifest, and return what that is to say of them."""
    lake, config, cache, engine, progress = job.lake, job.config, job.cache, job.engine, job.progress
    out = job.datasets / name
    train_until, validation_until = job.cuts
    tracks = catalogue(job.counts.tracks(train_until), lake, config.min_count)
    n_catalogue = int(tracks["in_catalogue"].sum())
    track_ids = f"track_ids-{name}.parquet"
    with cache.writing(track_ids) as file:
        write_parquet(file, [in_schema(tracks, TRACK_IDS)], TRACK_IDS)

    days = [Day.of(day, entry) for day, entry in zip(job.days, job.entries, strict=True)]
    shards = user_shards(sum(entry["rows"] for entry in job.entries), _EVENTS_PER_SHARD)
    as_of_day = days[-1].number + 1
    parts = [
        ShardTask(
            lake=lake.root,
            days=days,
            users=users,
            cache=cache,
            track_ids=track_ids,
            out=out,
            name=shard_name(index),
            n_catalogue=n_catalogue,
            train_until=train_until,
            validation_until=validation_until,
            as_of_day=as_of_day,
        )
        for index, users in enumerate(shards)
    ]
    progress("users", 0.1)
    results = engine.map(make_shard, parts, lambda done, of: progress("users", 0.1 + 0.2 * done / of))

    epochs = 0

    def on_epoch() -> None:
        nonlocal epochs
        epochs += 1
        progress("track vectors", 0.3 + 0.7 * epochs / config.track2vec.epochs)

    progress("track vectors", 0.3)
    base = job.datasets / continues if continues else None
    space = make_space(lake, out, len(shards), tracks, train_until, config.track2vec, job.seed, base, on_epoch)
    data = io.BytesIO()
    np.save(data, space.vectors, allow_pickle=False)
    out.write("vectors.npy", data.getvalue())
    tracks = tracks.with_columns(pl.Series("vector_origin", space.origin))
    with out.writing("tracks.parquet") as file:
        write_parquet(file, [in_schema(tracks, DATASET_TRACKS)], DATASET_TRACKS)
    progress("checksums", 1.0)
    for name in out.files():
        if name.endswith(".tmp"):  # of a worker that was lost while it wrote; another one wrote the file anew
            out.delete(name)

    _sweep(cache, {*job.count_files, *(name for result in results for name in result.cached)})
    return {
        "logs": lake.manifest.logs,
        "counts": _counts(results, len(tracks), n_catalogue),
        "parts": len(shards),
        "train_until_us": train_until,
        "validation_until_us": validation_until,
        "as_of_day": as_of_day,
        "track_space": {
            "drift": space.drift,
            "origins": dict(tracks.group_by("vector_origin").len().sort("vector_origin").iter_rows()),
        },
        "checksums": {file: out.checksum(file) for file in out.files()},
    }


def _counts(results: list[ShardResult], tracks: int, n_catalogue: int) -> dict[str, int]:
    counts = {
        "users": sum(result.users for result in results),
        "tracks": tracks,
        "catalogue": n_catalogue,
        "snapshots": sum(result.snapshots for result in results),
        "events": sum(result.events for result in results),
        "listens": sum(sum(result.listens) for result in results),
    }
    for index, period in enumerate(("train", "validation", "test")):
        counts[f"{period}_listens"] = sum(result.listens[index] for result in results)
        counts[f"{period}_listens_in_catalogue"] = sum(result.listens_in_catalogue[index] for result in results)
    return counts


def _sweep(cache: Folder, used: set[str]) -> None:
    for name in cache.files():
        if name not in used:
            cache.delete(name)
