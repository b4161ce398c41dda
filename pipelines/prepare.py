"""Prepare: the lake → a prepared dataset (tracks, vectors, sequences, slow snapshots, manifest).

A dataset's folder is named by what it is made of, written under a temporary name and renamed; CURRENT names the
newest. So a killed run leaves nothing that can be opened, and the next run makes the same files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.sentences import Sentences, TrainingSessions
from fsvae.features.slow import DAY_US, Events, habits, snapshot_days, taste
from fsvae.features.track2vec import Track2VecConfig, train_track_vectors
from fsvae.schema import DATASET_TRACKS, KINDS, SCHEMA_VERSION, SEQUENCES, SLOW
from pipelines.files import checksum, fingerprint, held, write_json, write_parquet
from pipelines.lake import Lake


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
    keep: int = 3
    """How many prepared datasets to keep in the folder, the newest ones."""
    track2vec: Track2VecConfig = field(default_factory=Track2VecConfig)


Progress = Callable[[str, float], None]
"""Called with the stage's name and the share of the whole that is done."""


def prepare(
    lake: Lake, config: DatasetConfig, seed: int, datasets: Path, progress: Progress = lambda stage, share: None
) -> Path:
    """Make the prepared dataset of a lake and config, unless it is there already, and point CURRENT at it.

    Raises:
        UserError: the lake holds no events, the split leaves a period empty, or another prepare is running.
    """
    if config.before:
        try:
            config = replace(config, before=date.fromisoformat(config.before).isoformat())
        except ValueError as error:
            raise UserError(f"dataset.before: '{config.before}' is not a day such as 2026-01-31.") from error
    made_of = {
        "schema_version": SCHEMA_VERSION,
        "lake": lake.fingerprint(config.before or None),
        "config": {name: value for name, value in asdict(config).items() if name != "keep"},
        "seed": seed,
    }
    name = fingerprint(made_of)
    target = datasets / name
    with held(datasets / ".lock", f"{datasets}: another prepare is writing here; wait for it to end."):
        return _prepare(lake, config, seed, target, made_of, progress)


def _prepare(
    lake: Lake, config: DatasetConfig, seed: int, target: Path, made_of: dict[str, Any], progress: Progress
) -> Path:
    datasets, name = target.parent, target.name
    if not target.exists():
        temporary = datasets / f".{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write(lake, config, seed, temporary, {"fingerprint": name, **made_of}, progress)
        temporary.rename(target)
    _point(datasets, name, config.keep)
    progress("done", 1.0)
    return target


def _point(datasets: Path, name: str, keep: int) -> None:
    pointer = datasets / ".CURRENT.tmp"
    pointer.write_text(name + "\n")
    pointer.replace(datasets / "CURRENT")
    (datasets / name / "manifest.json").touch()  # the age of a dataset is when it was last the current one
    for left in datasets.glob(".*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    others = [path for path in datasets.glob("*/manifest.json") if path.parent.name != name]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in others[max(keep, 1) - 1 :]:
        doomed = datasets / f".{old.parent.name}.tmp"  # renamed first: half of a dataset must not keep its name
        old.parent.rename(doomed)
        shutil.rmtree(doomed)


def _write(
    lake: Lake, config: DatasetConfig, seed: int, out: Path, made_of: dict[str, Any], progress: Progress
) -> None:
    progress("reading the lake", 0.0)
    events = lake.read_events(config.before or None).sort("bucket", "user_id", "played_at", maintain_order=True)
    events = events.with_columns(
        pl.struct("bucket", "user_id").rle_id().cast(pl.Int64).alias("user"), pl.col("played_at").dt.timestamp("us")
    )
    listens = events.filter(pl.col("kind") == "listen")
    train_until, validation_until = _cuts(listens["played_at"], config)

    progress("tracks", 0.1)
    tracks = _tracks(listens, lake.read_tracks(), train_until, config.min_count)
    n_catalogue = int(tracks["in_catalogue"].sum())
    index_of = tracks.select(
        "track_id", "track_index", pl.col("artist_id").rank("dense").cast(pl.Int64).alias("artist")
    )
    events = events.join(index_of, on="track_id", how="left", maintain_order="left")
    events = events.with_columns(pl.col("track_index").fill_null(len(tracks)), pl.col("artist").fill_null(0) - 1)
    listens = events.filter(pl.col("kind") == "listen")
    write_parquet(out / "tracks.parquet", tracks, DATASET_TRACKS)

    progress("track vectors", 0.15)
    done = 0

    def on_epoch() -> None:
        nonlocal done
        done += 1
        progress("track vectors", 0.15 + 0.65 * done / config.track2vec.epochs)

    user, played_at = listens["user"].to_numpy(), listens["played_at"].to_numpy()
    offsets = np.append(np.flatnonzero(np.diff(user, prepend=-1)), len(user))
    rows = [(offsets, listens["track_index"].to_numpy().astype(np.int32), played_at)]
    sessions = Sentences(TrainingSessions(rows, train_until, n_catalogue))
    vectors = train_track_vectors(sessions, n_catalogue, config.track2vec, seed, on_epoch=on_epoch)
    np.save(out / "vectors.npy", vectors, allow_pickle=False)

    progress("sequences", 0.8)
    played = (pl.col("ms_played") / pl.col("duration_ms").replace(0, None)).clip(0.0, 1.0).fill_null(1.0)
    sequences = listens.group_by("user", maintain_order=True).agg(
        pl.col("user_id").first(),
        pl.col("track_index").cast(pl.Int32),
        pl.from_epoch("played_at", time_unit="us").dt.replace_time_zone("UTC"),
        played.cast(pl.Float32).alias("played_fraction"),
    )
    write_parquet(out / "sequences.parquet", sequences, SEQUENCES)

    progress("slow snapshots", 0.85)
    as_of_day = int(events["played_at"].max()) // DAY_US + 1  # type: ignore[arg-type]
    slow = _slow(events, sequences["user"], vectors, as_of_day)
    write_parquet(out / "slow.parquet", slow, SLOW)

    in_catalogue = listens["track_index"] < n_catalogue
    period = (listens["played_at"] >= train_until).cast(pl.Int8) + (listens["played_at"] >= validation_until)
    counts = {"users": len(sequences), "tracks": len(tracks), "catalogue": n_catalogue, "snapshots": len(slow)}
    counts |= {"events": len(events), "listens": len(listens)}
    for index, name in enumerate(("train", "validation", "test")):
        counts[f"{name}_listens"] = int((period == index).sum())
        counts[f"{name}_listens_in_catalogue"] = int(((period == index) & in_catalogue).sum())
    write_json(
        out / "manifest.json",
        made_of
        | {
            "logs": lake.manifest.logs,
            "counts": counts,
            "train_until_us": train_until,
            "validation_until_us": validation_until,
            "as_of_day": as_of_day,
            "checksums": {path.name: checksum(path) for path in sorted(out.iterdir())},
        },
    )


def _cuts(played_at: pl.Series, config: DatasetConfig) -> tuple[int, int]:
    """Return where the training and the validation period end [us]; each period must hold a listen."""
    times = played_at.sort().to_numpy()
    if config.train_until and config.validation_until:
        try:
            train_until, validation_until = _iso_us(config.train_until), _iso_us(config.validation_until)
        except ValueError as error:
            raise UserError(f"dataset.train_until, dataset.validation_until: not ISO times: {error}") from error
    elif config.train_until or config.validation_until:
        raise UserError("dataset.train_until and dataset.validation_until go together: set both or neither.")
    else:
        shares = np.array([config.train_share, config.train_share + config.validation_share])
        if not 0 < shares[0] < shares[1] < 1:
            raise UserError("dataset.train_share and dataset.validation_share must be above 0 and leave some for test.")
        if len(times) == 0:
            raise UserError("The lake holds events but no listen (kind=listen): there is nothing to learn from.")
        train_until, validation_until = (int(times[int(share * len(times) + 1e-6)]) for share in shares)
    if not (len(times) and times[0] < train_until < validation_until <= times[-1]):
        raise UserError(
            f"dataset: {len(times)} listens do not fill a training, a validation and a test period. "
            "Ingest more listens, or set the shares or the cuts differently."
        )
    return train_until, validation_until


def _iso_us(text: str) -> int:
    time = datetime.fromisoformat(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _tracks(listens: pl.DataFrame, known: pl.DataFrame, train_until: int, min_count: int) -> pl.DataFrame:
    """Return DATASET_TRACKS: every track that was listened to, by descending count in training, ties by id."""
    in_train = (pl.col("played_at") < train_until).sum().cast(pl.Int64)
    counts = listens.group_by("track_id").agg(in_train.alias("train_count"))
    return (
        counts.join(known, on="track_id", how="left")
        .sort(["train_count", "track_id"], descending=[True, False])
        .with_row_index("track_index")
        .with_columns(
            pl.col("track_index").cast(pl.Int32), (pl.col("train_count") >= max(min_count, 1)).alias("in_catalogue")
        )
    )


def _slow(events: pl.DataFrame, users: pl.Series, vectors: NDArray[np.float32], as_of_day: int) -> pl.DataFrame:
    """Return SLOW for every active day of every user with a listen, and for the day after the last event."""
    kinds = pl.Enum(KINDS)
    rows = Events(
        user=events["user"].to_numpy(),
        track=events["track_index"].to_numpy().astype(np.int64),
        artist=events["artist"].to_numpy().astype(np.int64),
        kind=events["kind"].cast(kinds).to_physical().to_numpy().astype(np.int8),
        played_at=events["played_at"].to_numpy(),
    )
    listens = rows.of_kind("listen")
    user, day = snapshot_days(listens.user, listens.played_at)
    everyone = users.to_numpy()
    user, day = np.append(user, everyone), np.append(day, np.full(len(everyone), as_of_day))
    order = np.lexsort((day, user))
    user, day = user[order], day[order]
    index = np.searchsorted(everyone, user)  # users without a listen have no sequence and no index
    return pl.DataFrame(
        {
            "user_index": index.astype(np.int32),
            "day": day.astype(np.int32),
            "habits": habits(rows, user, day),
            "taste": taste(listens.user, listens.track, listens.played_at, vectors, user, day),
        }
    )
