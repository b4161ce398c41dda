"""Prepare: the lake → a prepared dataset (tracks, vectors, sequences, slow snapshots, manifest).

A dataset's folder is named by what it is made of and is a dataset once its manifest is there, the last file to be
written; CURRENT names the newest. So a killed run leaves nothing that can be opened, and the next run makes the same
files. Memory is bounded by one part of the users a worker: see `pipelines.parts`, and `pipelines.vocabulary` for what
is global.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from fsvae.data.dataset import part_name
from fsvae.errors import UserError
from fsvae.features.track2vec import Track2VecConfig
from fsvae.schema import DATASET_TRACKS, SCHEMA_VERSION
from fsvae.storage import Folder
from pipelines.engine import Engine, LocalEngine
from pipelines.files import fingerprint, in_schema, write_parquet
from pipelines.lake import N_BUCKETS, Lake
from pipelines.locks import held
from pipelines.parts import Day, PartResult, PartTask, make_part
from pipelines.track_space import make_space
from pipelines.vocabulary import DayCounts, DayTask, Split, catalogue, count_day, cuts

_EVENTS_A_PART = 1_000_000
"""About so many events go into one part of the users, as long as there are buckets enough."""


@dataclass
class DatasetConfig:
    """How events become a dataset. The split is by time, the same for all users."""

    min_count: int = 5
    """A track needs this many listens in the training period to be in the catalogue."""
    train_share: float = 0.8
    """Share of the listens, by time, that come before the validation period."""
    validation_share: float = 0.1
    """Share of the listens between the training and the test period."""
    train_until: str = ""
    """Where the training period ends (ISO time, UTC) instead of at train_share; set validation_until too."""
    validation_until: str = ""
    """Where the test period begins, instead of after validation_share."""
    before: str = ""
    """Use only events before this day (YYYY-MM-DD); empty: all."""
    continue_space: bool = False
    """Go on from the track space of the current dataset, so that vectors stay comparable (fsvae daily does)."""
    keep: int = 3
    """How many prepared datasets to keep in the folder, the newest ones."""
    track2vec: Track2VecConfig = field(default_factory=Track2VecConfig)


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
        if config.continue_space and (current := _current(folder)):
            if all(current.get(key) == value for key, value in made_of.items()):
                before = current["continues"]  # the same command again
            else:
                before = current["fingerprint"]
        made_of["continues"] = before
        name = fingerprint(made_of)
        if not (folder / name).exists("manifest.json"):
            (folder / name).delete_all()
            made = _make(lake, days, config, seed, folder, name, before, progress, engine or LocalEngine(workers=1))
            (folder / name).write_json("manifest.json", {"fingerprint": name, **made_of, **made})
        _point(folder, name, config.keep)
    progress("done", 1.0)
    return folder / name


def _current(datasets: Folder) -> dict[str, Any] | None:
    """Return the manifest of the current dataset, if there is one."""
    if not datasets.exists("CURRENT"):
        return None
    folder = datasets / datasets.read("CURRENT").decode().strip()
    if not folder.exists("manifest.json"):
        return None
    manifest: dict[str, Any] = folder.read_json("manifest.json")
    return manifest


def _point(datasets: Folder, name: str, keep: int) -> None:
    """Make a dataset the current one, and delete what is half made or was current longest ago."""
    datasets.write("CURRENT", (name + "\n").encode())
    (datasets / name).write(".used", b"")  # its age is when the dataset was last the current one
    for left in datasets.files():
        if left.endswith(".tmp"):
            datasets.delete(left)
    others = {}
    for other in datasets.folders():
        if other == name or other.startswith("."):
            continue
        if (datasets / other).exists("manifest.json"):
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
    progress: Progress,
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
    split = Split(config.train_share, config.validation_share, config.train_until, config.validation_until)
    train_until, validation_until = cuts(counts, split)
    tracks = catalogue(counts.tracks(train_until), lake, config.min_count)
    n_catalogue = int(tracks["in_catalogue"].sum())
    vocabulary = f"vocabulary-{name}.parquet"
    with cache.writing(vocabulary) as file:
        pq.write_table(tracks.select("track_id", "track_index").to_arrow(), file)

    events = sum(entry["rows"] for entry in entries)
    n_parts = 1
    while n_parts < N_BUCKETS and events > n_parts * _EVENTS_A_PART:
        n_parts *= 2
    width = N_BUCKETS // n_parts
    as_of_day = Day.of(days[-1], entries[-1]).number + 1
    parts = [
        PartTask(
            lake=lake.root,
            days=[Day.of(day, entry) for day, entry in zip(days, entries, strict=True)],
            buckets=(index * width, (index + 1) * width),
            cache=cache,
            vocabulary=vocabulary,
            out=out,
            name=part_name(index),
            n_catalogue=n_catalogue,
            train_until=train_until,
            validation_until=validation_until,
            as_of_day=as_of_day,
        )
        for index in range(n_parts)
    ]
    progress("users", 0.1)
    results = engine.map(make_part, parts, lambda done, of: progress("users", 0.1 + 0.2 * done / of))

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


def _counts(results: list[PartResult], tracks: int, n_catalogue: int) -> dict[str, int]:
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
