"""The global side of prepare, by map and reduce over days: listens of each track, where periods end, the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.borrowed import MIN_FIT, ORIGINS, borrow_vectors
from fsvae.storage import Folder, read_frame
from pipelines.dataset_config import DatasetConfig
from pipelines.files import write_parquet
from pipelines.lake import Lake
from pipelines.track_space import embeddings_of

_COUNTS = pa.schema([pa.field("track_id", pa.string()), pa.field("listens", pa.int64())])


@dataclass(frozen=True)
class DayTask:
    """One day of a lake, to be counted."""

    lake: Folder
    path: str
    cache: Folder
    name: str
    """Of the file with its counts."""


def count_day(task: DayTask) -> int:
    """Count the listens of each track on a day into a file of the cache, unless it is there; return their number."""
    if not task.cache.exists(task.name):
        words, track = _tracks(task.lake.open(task.path))
        listens = np.bincount(track, minlength=len(words))
        heard = np.flatnonzero(listens)
        table = pa.table([words.take(pa.array(heard)), pa.array(listens[heard])], schema=_COUNTS)
        with task.cache.writing(task.name) as file:
            write_parquet(file, [table], _COUNTS)
    return int(read_frame(task.cache.open(task.name), ["listens"])["listens"].sum())


class DayCounts:
    """The listens of all days of a dataset: the only global statistics there are."""

    def __init__(self, lake: Lake, days: list[str], cache: Folder, names: list[str], listens: list[int]) -> None:
        """Remember where the counts of each day lie, and how many listens it has."""
        self._lake = lake
        self._days = days
        self._cache = cache
        self._names = names
        self._listens = np.array(listens, dtype=np.int64)
        self._ends = np.cumsum(self._listens)

    @property
    def total(self) -> int:
        """Return the number of listens."""
        return int(self._ends[-1])

    def times(self, index: int) -> NDArray[np.int64]:
        """Return the times [us] of a day's listens, sorted."""
        return np.sort(_times(self._lake.open(self._lake.manifest.days[self._days[index]])))

    def time_of(self, rank: int) -> int:
        """Return the time [us] of the listen with a rank by time, from 0."""
        index = int(np.searchsorted(self._ends, rank, side="right"))
        return int(self.times(index)[rank - (self._ends[index] - self._listens[index])])

    def tracks(self, until_us: int) -> pl.DataFrame:
        """Return every track that was listened to, with its listens before a time: track_id, train_count."""
        midnight = datetime.fromtimestamp(until_us / 1e6, UTC).strftime("%Y-%m-%d")
        frames = []
        for day, name in zip(self._days, self._names, strict=True):
            counts = read_frame(self._cache.open(name))
            if day == midnight:
                entry = self._lake.manifest.days[day]
                words, track = _tracks(self._lake.open(entry))
                early = np.bincount(track[_times(self._lake.open(entry)) < until_us], minlength=len(words))
                frames.append(pl.DataFrame({"track_id": pl.Series(words), "listens": early.astype(np.int64)}))
            frames.append(counts if day < midnight else counts.with_columns(pl.lit(0, pl.Int64).alias("listens")))
        return pl.concat(frames).group_by("track_id").agg(pl.col("listens").sum().alias("train_count"))


def _tracks(file: pa.NativeFile) -> tuple[pa.Array, NDArray[np.int32]]:
    """Return the track ids of a day, and which of them each listen is to."""
    column = pq.ParquetFile(file, read_dictionary=["track_id", "kind"]).read(["track_id", "kind"], use_threads=False)
    column = column.unify_dictionaries()
    if not len(column):
        return pa.array([], pa.string()), np.zeros(0, dtype=np.int32)
    track = np.concatenate([chunk.indices.to_numpy() for chunk in column["track_id"].chunks])
    return column["track_id"].chunk(0).dictionary, track[_is_listen(column["kind"])]


def _times(file: pa.NativeFile) -> NDArray[np.int64]:
    """Return the times [us] of the listens of a day, in lake order."""
    table = pq.ParquetFile(file, read_dictionary=["kind"]).read(["played_at", "kind"], use_threads=False)
    played_at: NDArray[np.int64] = table["played_at"].cast(pa.int64()).to_numpy()
    return played_at[_is_listen(table["kind"].unify_dictionaries())]


def _is_listen(kind: pa.ChunkedArray) -> NDArray[np.bool_]:
    if not len(kind):
        return np.zeros(0, dtype=np.bool_)
    code = pc.index(kind.chunk(0).dictionary, "listen").as_py()
    return np.asarray(np.concatenate([chunk.indices.to_numpy() for chunk in kind.chunks]) == code)


def cuts(counts: DayCounts, config: DatasetConfig) -> tuple[int, int]:
    """Return where the training and the validation period end [us].

    Raises:
        UserError: the split cannot be read, or leaves a period without a listen.
    """
    total = counts.total
    if config.train_until and config.validation_until:
        try:
            train_until, validation_until = _iso_us(config.train_until), _iso_us(config.validation_until)
        except ValueError as error:
            raise UserError(f"dataset.train_until, dataset.validation_until: not ISO times: {error}") from error
    elif config.train_until or config.validation_until:
        raise UserError("dataset.train_until and dataset.validation_until go together: set both or neither.")
    else:
        shares = (config.train_share, config.train_share + config.validation_share)
        if not 0 < shares[0] < shares[1] < 1:
            raise UserError("dataset.train_share and dataset.validation_share must be above 0 and leave some for test.")
        if total == 0:
            raise UserError("The lake holds events but no listen (kind=listen): there is nothing to learn from.")
        train_until, validation_until = (counts.time_of(int(share * total + 1e-6)) for share in shares)
    if not (total and counts.time_of(0) < train_until < validation_until <= counts.time_of(total - 1)):
        raise UserError(
            f"dataset: {total} listens do not fill a training, a validation and a test period. "
            "Ingest more listens, or set the shares or the cuts differently."
        )
    return train_until, validation_until


def _iso_us(text: str) -> int:
    time = datetime.fromisoformat(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def catalogue(counts: pl.DataFrame, lake: Lake, min_count: int) -> pl.DataFrame:
    """Return DATASET_TRACKS, but for the origin of vectors, of all tracks (track_id, train_count).

    The catalogue comes first, then the tracks that can borrow a vector from it; each by descending count, ties by id.
    """
    tracks = (
        counts.join(lake.read_tracks(), on="track_id", how="left")
        .with_columns((pl.col("train_count") >= max(min_count, 1)).alias("in_catalogue"))
        .sort(["train_count", "track_id"], descending=[True, False])
    )
    # Which tracks can borrow does not depend on what the vectors are: any will do to find out.
    stand_in = np.ones((int(tracks["in_catalogue"].sum()), 1), dtype=np.float32)
    _, origin = borrow_vectors(tracks, stand_in)
    can_borrow = origin != ORIGINS.index("none")
    embeddings = embeddings_of(lake, tracks)
    if embeddings is not None:
        has = np.asarray(np.isfinite(embeddings).all(axis=1))
        can_borrow |= has & (int(has[: len(stand_in)].sum()) >= MIN_FIT)
    return (
        tracks.with_columns(pl.Series("can_borrow", can_borrow))
        .sort(["in_catalogue", "can_borrow"], descending=True, maintain_order=True)
        .with_row_index("track_index")
        .with_columns(pl.col("track_index").cast(pl.Int32))
        .drop("can_borrow")
    )
