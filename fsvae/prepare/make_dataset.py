"""The files of a dataset, made from a lake's (tracks, vectors, sequences, slow snapshots, manifest).

A dataset's folder is named by its inputs and is a dataset once it holds its manifest, which is written last. So a
killed run leaves nothing that can be opened, and the next run makes the same files. Memory is bounded by one shard of
the users for each worker (`fsvae.prepare.user_shards`), and otherwise by the tracks.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl

from fsvae.errors import UserError
from fsvae.files import fingerprint, in_schema, write_parquet
from fsvae.prepare.catalogue import catalogue, cuts
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.dataset_files import is_prepared, shard_name
from fsvae.prepare.events import Day
from fsvae.prepare.lake_files import LakeFiles
from fsvae.prepare.listen_counts import DayCounts, DayTask, count_day
from fsvae.prepare.track_space import make_space
from fsvae.prepare.user_shards import TRACK_IDS, ShardResult, ShardTask, make_shard, user_shards
from fsvae.progress import Done, Stage
from fsvae.schema import DATASET_TRACKS, SCHEMA_VERSION
from fsvae.storage import Folder

T = TypeVar("T")
R = TypeVar("R")

_EVENTS_PER_SHARD = 1_000_000
"""Approximate number of events in a shard of the users; a user is never cut, so a shard can be larger."""


class Run(Protocol):
    """A function that runs another on many tasks, in any order or processes."""

    def __call__(self, function: Callable[[T], R], tasks: Sequence[T], done: Done) -> list[R]:
        """Return the results in the order of the tasks."""
        ...


def in_this_process(function: Callable[[T], R], tasks: Sequence[T], done: Done) -> list[R]:
    """Run one task after the other."""
    results = []
    for task in tasks:
        results.append(function(task))
        done(len(results), len(tasks))
    return results


@dataclass(frozen=True)
class DatasetJob:
    """The inputs of a dataset and its place; days are counted on first use."""

    lake: LakeFiles
    days: list[str]
    """Days of the lake, YYYY-MM-DD."""
    config: DatasetConfig
    seed: int
    """Seed of the track vectors."""
    datasets: Folder
    """Folder of all datasets, which also holds their common cache."""
    run: Run = in_this_process
    progress: Stage = lambda stage, share: None

    @classmethod
    def of(cls, lake: LakeFiles, config: DatasetConfig, seed: int, datasets: Folder, **where: Any) -> DatasetJob:
        """Return the job for the days that a config names.

        Raises:
            UserError: `config.before` is not a day, or the lake holds no events.
        """
        before = None
        if config.before:
            try:
                before = date.fromisoformat(config.before).isoformat()
            except ValueError as error:
                raise UserError(f"dataset.before: '{config.before}' is not a day such as 2026-01-31.") from error
        # `before` is redundant with the days, whose checksums name the dataset.
        return cls(lake, lake.days(before), replace(config, before=""), seed, datasets, **where)

    @property
    def made_of(self) -> dict[str, Any]:
        """Return the inputs of the dataset, except a track space that it continues."""
        manifest = self.lake.manifest
        days = {day: manifest.days[day]["checksum"] for day in self.days}
        return {
            "schema_version": SCHEMA_VERSION,
            "lake": fingerprint([days, manifest.tracks, manifest.playlists, manifest.embeddings]),
            "config": {name: value for name, value in asdict(self.config).items() if name != "keep"},
            "seed": self.seed,
        }

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Return the entry of each day in the lake's manifest."""
        return [self.lake.manifest.days[day] for day in self.days]

    @property
    def cache(self) -> Folder:
        """Return the folder of the cache that datasets share."""
        return self.datasets / ".cache"

    @property
    def count_files(self) -> list[str]:
        """Return the cache file with the counts of each day."""
        return [f"count-{entry['checksum']}.parquet" for entry in self.entries]

    @cached_property
    def counts(self) -> DayCounts:
        """Return the listen counts of each day and track."""
        self.progress("counting", 0.0)
        tasks = [
            DayTask(self.lake.root, entry["path"], self.cache, name)
            for entry, name in zip(self.entries, self.count_files, strict=True)
        ]
        listens = self.run(count_day, tasks, lambda done, of: self.progress("counting", 0.1 * done / of))
        return DayCounts(self.lake, self.days, self.cache, self.count_files, listens)

    @cached_property
    def cuts(self) -> tuple[int, int]:
        """Return the ends of the training and the validation period [us]."""
        return cuts(self.counts, self.config)


def make_dataset(job: DatasetJob, continues: str = "") -> tuple[Folder, bool]:
    """Return the folder of a job's dataset, made if it is missing, and whether it existed.

    Args:
        job: inputs of the dataset.
        continues: name of the dataset, in the same folder, whose track space is continued; empty: none.

    Raises:
        UserError: the split leaves a period empty, or the dataset to continue was deleted meanwhile.
    """
    made_of = {**job.made_of, "continues": continues}
    name = fingerprint(made_of)
    folder = job.datasets / name
    reused = is_prepared(folder)
    if not reused:
        folder.delete_all()
        made = _write_files(job, name, continues)
        folder.write_json("manifest.json", {"fingerprint": name, **made_of, **made})
    job.progress("done", 1.0)
    return folder, reused


def _write_files(job: DatasetJob, name: str, continues: str) -> dict[str, Any]:
    """Write all files of a dataset but its manifest, and return the manifest's entries for them."""
    lake, config, cache, progress = job.lake, job.config, job.cache, job.progress
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
    results = job.run(make_shard, parts, lambda done, of: progress("users", 0.1 + 0.2 * done / of))

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
        if name.endswith(".tmp"):  # left by a worker lost while writing; another one wrote the file anew
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
