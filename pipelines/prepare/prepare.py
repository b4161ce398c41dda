"""Prepare: the lake → a prepared dataset (tracks, vectors, sequences, slow snapshots, manifest).

A dataset's folder is named by what it is made of and is a dataset once its manifest is there, the last file to be
written; CURRENT names the newest. So a killed run leaves nothing that can be opened, and the next run makes the same
files. Memory is bounded by one part of the users a worker (`pipelines.prepare.user_shards`), and else by the tracks.
"""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fsvae.data.dataset import current_dataset, is_prepared, shard_name
from fsvae.errors import UserError
from fsvae.progress import Stage
from fsvae.schema import DATASET_TRACKS, SCHEMA_VERSION
from fsvae.storage import Folder
from pipelines.lake.events import Day
from pipelines.lake.lake import N_BUCKETS, Lake
from pipelines.prepare.catalogue import catalogue, cuts
from pipelines.prepare.dataset_config import DatasetConfig
from pipelines.prepare.listen_counts import DayCounts, DayTask, count_day
from pipelines.prepare.track_space import make_space
from pipelines.prepare.user_shards import TRACK_IDS, ShardResult, ShardTask, make_shard
from pipelines.runtime.engine import Engine, LocalEngine
from pipelines.runtime.files import fingerprint, in_schema, write_parquet
from pipelines.runtime.locks import held

_EVENTS_PER_SHARD = 1_000_000
"""About so many events go into one part of the users, as long as there are buckets enough."""


def prepare(
    lake: Lake,
    config: DatasetConfig,
    seed: int,
    datasets: str | Path | Folder,
    progress: Stage = lambda stage, share: None,
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
        UserError: the lake holds no events, the split leaves a period empty, or another prepare is running.
    """
    if config.before:
        try:
            config = replace(config, before=date.fromisoformat(config.before).isoformat())
        except ValueError as error:
            raise UserError(f"dataset.before: '{config.before}' is not a day such as 2026-01-31.") from error
    days = lake.days(config.before or None)
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
    with held(folder, "prepare"):
        before = ""
        if config.continue_space and (current := current_dataset(folder)):
            manifest = current.read_json("manifest.json")
            if all(manifest.get(key) == value for key, value in made_of.items()):
                before = manifest["continues"]  # the same command again
            elif manifest["schema_version"] == SCHEMA_VERSION:
                before = manifest["fingerprint"]
        made_of["continues"] = before
        name = fingerprint(made_of)
        if not is_prepared(folder / name):
            (folder / name).delete_all()
            made = _make(lake, days, config, seed, folder, name, before, progress, engine or LocalEngine(workers=1))
            (folder / name).write_json("manifest.json", {"fingerprint": name, **made_of, **made})
        _point(folder, name, config.keep)
    progress("done", 1.0)
    return folder / name


def _point(datasets: Folder, name: str, keep: int) -> None:
    """Make a dataset the current one, and delete what is half made or was current longest ago."""
    datasets.write("CURRENT", (name + "\n").encode())
    (datasets / name).write(".used", b"")  # its age is when the dataset was last the current one
    for left in datasets.files():
        of_matrices = "/" in left and left.startswith(".")  # a folder that is under another lock
        if left.endswith(".tmp") and not of_matrices:
            datasets.delete(left)
    others = {}
    for other in datasets.folders():
        if other == name or other.startswith("."):
            continue
        if is_prepared(datasets / other):
            used = ".used" if (datasets / other).exists(".used") else "manifest.json"
            others[other] = (datasets / other).age(used)
        else:
            (datasets / other).delete_all()
    for old in sorted(others, key=others.__getitem__, reverse=True)[max(keep, 1) - 1 :]:
        (datasets / old).delete("manifest.json")  # first: half of a dataset is none
        (datasets / old).delete_all()


def _make(
    lake: Lake,
    days: list[str],
    config: DatasetConfig,
    seed: int,
    datasets: Folder,
    name: str,
    before: str,
    progress: Stage,
    engine: Engine,
) -> dict[str, Any]:
    """Write all files of a dataset but its manifest, and return what that is to say of them."""
    out, cache = datasets / name, datasets / ".cache"
    progress("counting", 0.0)
    entries = [lake.manifest.days[day] for day in days]
    names = [f"count-{entry['checksum']}.parquet" for entry in entries]
    tasks = [DayTask(lake.root, entry["path"], cache, name) for entry, name in zip(entries, names, strict=True)]
    listens = engine.map(count_day, tasks, lambda done, of: progress("counting", 0.1 * done / of))
    counts = DayCounts(lake, days, cache, names, listens)
    train_until, validation_until = cuts(counts, config)
    tracks = catalogue(counts.tracks(train_until), lake, config.min_count)
    n_catalogue = int(tracks["in_catalogue"].sum())
    track_ids = f"track_ids-{name}.parquet"
    with cache.writing(track_ids) as file:
        write_parquet(file, [in_schema(tracks, TRACK_IDS)], TRACK_IDS)

    events = sum(entry["rows"] for entry in entries)
    n_parts = 1
    while n_parts < N_BUCKETS and events > n_parts * _EVENTS_PER_SHARD:
        n_parts *= 2
    width = N_BUCKETS // n_parts
    as_of_day = Day.of(days[-1], entries[-1]).number + 1
    parts = [
        ShardTask(
            lake=lake.root,
            days=[Day.of(day, entry) for day, entry in zip(days, entries, strict=True)],
            buckets=(index * width, (index + 1) * width),
            cache=cache,
            track_ids=track_ids,
            out=out,
            name=shard_name(index),
            n_catalogue=n_catalogue,
            train_until=train_until,
            validation_until=validation_until,
            as_of_day=as_of_day,
        )
        for index in range(n_parts)
    ]
    progress("users", 0.1)
    results = engine.map(make_shard, parts, lambda done, of: progress("users", 0.1 + 0.2 * done / of))

    epochs = 0

    def on_epoch() -> None:
        nonlocal epochs
        epochs += 1
        progress("track vectors", 0.3 + 0.7 * epochs / config.track2vec.epochs)

    progress("track vectors", 0.3)
    base = datasets / before if before else None
    space = make_space(lake, out, n_parts, tracks, train_until, config.track2vec, seed, base, on_epoch)
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

    _sweep(cache, {*names, *(name for result in results for name in result.cached)})
    return {
        "logs": lake.manifest.logs,
        "counts": _counts(results, len(tracks), n_catalogue),
        "parts": n_parts,
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
