"""Listen counts of every day and track of a lake, by map and reduce over the days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.clock import utc_text
from fsvae.files import write_parquet
from fsvae.prepare.lake_files import LakeFiles
from fsvae.storage import Folder, read_frame

_COUNTS = pa.schema([pa.field("track_id", pa.string()), pa.field("listens", pa.int64())])
_FOLD_ROWS = 1 << 21
"""Number of rows of counts that are added up before more are read."""


@dataclass(frozen=True)
class DayTask:
    """One day of a lake, to be counted."""

    lake: Folder
    path: str
    cache: Folder
    name: str
    """Name of the file with its counts."""


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
    """Listen counts of all days of a dataset, the only global statistics."""

    def __init__(self, lake: LakeFiles, days: list[str], cache: Folder, names: list[str], listens: list[int]) -> None:
        """Take the file with the counts of each day, and its number of listens."""
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
        midnight = utc_text(until_us, "%Y-%m-%d")
        frames = [pl.DataFrame(_COUNTS.empty_table())]
        for day, name in zip(self._days, self._names, strict=True):
            counts = read_frame(self._cache.open(name))
            if day == midnight:
                entry = self._lake.manifest.days[day]
                words, track = _tracks(self._lake.open(entry))
                early = np.bincount(track[_times(self._lake.open(entry)) < until_us], minlength=len(words))
                frames.append(pl.DataFrame({"track_id": pl.Series(words), "listens": early.astype(np.int64)}))
            frames.append(counts if day < midnight else counts.with_columns(pl.lit(0, pl.Int64).alias("listens")))
            # Folding every day would read all tracks again each time; never folding would fill memory with many days.
            if sum(map(len, frames[1:])) > max(_FOLD_ROWS, len(frames[0])):
                frames = [_sums(frames)]
        return _sums(frames).rename({"listens": "train_count"})


def _sums(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by("track_id").agg(pl.col("listens").sum())


def _tracks(file: pa.NativeFile) -> tuple[pa.Array, NDArray[np.int32]]:
    """Return the track ids of a day, and the index in them of each listen's track."""
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
