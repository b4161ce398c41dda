"""The corpus of track vectors: sessions or playlists as arrays of track indices, read anew for every epoch.

Everything here is restartable and read in chunks, so that no more than one chunk is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.sessions import is_session_start, previous_times

Listening = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]
"""Some users' listens: offsets [U + 1], track index [N], played_at [N] in microseconds since 1970 UTC."""

OpenFile = Callable[[], Any]
"""Function that opens a Parquet file: `partial(open, path, "rb")`, `partial(filesystem.open_input_file, name)`."""


class Corpus:
    """A corpus cut from flat arrays: one array of track indices for each session or playlist.

    It can be iterated many times; each time it reads `chunks` once.
    """

    def __init__(self, chunks: Iterable[tuple[NDArray[np.int32], NDArray[np.int64]]]) -> None:
        """Take chunks of whole sessions or playlists.

        Args:
            chunks: restartable; pairs of [N] track indices, session after session, and [S] the index at which each
                session begins (ascending, the first at 0). For a corpus in memory, a list with one pair.
        """
        self._chunks = chunks

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for track, starts in self._chunks:
            for begin, end in pairwise([*starts.tolist(), len(track)]):
                yield track[begin:end]


class TrainingSessions:
    """The sessions of the training period, as chunks for `Corpus`: whole users in, whole sessions out.

    A session ends at a pause of more than 30 minutes (`fsvae.features.sessions`), at the user's last listen or where
    the training period ends. Tracks outside the catalogue are left out; they do not split a session.
    """

    def __init__(self, sequences: Iterable[Listening], train_until_us: int, n_tracks: int) -> None:
        """Take users' listens.

        Args:
            sequences: restartable; chunks of users, each user whole and in order of time.
            train_until_us: end of the training period [us since 1970 UTC]; listens from then on are not seen.
            n_tracks: size of the catalogue; a track index from there on is outside.
        """
        self._sequences = sequences
        self._train_until_us = train_until_us
        self._n_tracks = n_tracks

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        for offsets, track, played_at in self._sequences:
            session = np.cumsum(is_session_start(played_at, previous_times(offsets, played_at)))
            taken = (played_at < self._train_until_us) & (track < self._n_tracks)
            yield track[taken], np.flatnonzero(np.diff(session[taken], prepend=0)).astype(np.int64)


class SequenceFiles:
    """Users' listens from Parquet files with `schema.SEQUENCES`, some users at a time."""

    def __init__(self, files: Sequence[OpenFile], users_per_chunk: int = 1_000) -> None:
        """Take the files and the number of users read at once; memory is that of their listens."""
        self._files = files
        self._users = users_per_chunk

    def __iter__(self) -> Iterator[Listening]:
        for batch in _batches(self._files, self._users, ["track_index", "played_at"]):
            track, played_at = batch.column("track_index"), batch.column("played_at")
            ends = np.cumsum(track.value_lengths().to_numpy(), dtype=np.int64)
            yield (
                np.concatenate([np.zeros(1, dtype=np.int64), ends]),
                track.flatten().to_numpy().astype(np.int32, copy=False),
                played_at.flatten().cast("int64").to_numpy(),
            )


class PlaylistFiles:
    """Playlists from Parquet files with `schema.PLAYLISTS`, as chunks for `Corpus`.

    The rows of a playlist are consecutive, in order of position. Tracks outside the catalogue are left out.
    """

    def __init__(self, files: Sequence[OpenFile], track_ids: list[str], rows_per_chunk: int = 1_000_000) -> None:
        """Take the files, the catalogue in order, and the number of rows read at once.

        Memory is that of these rows and of the longest playlist.
        """
        self._files = files
        self._index = pl.DataFrame({"track_id": track_ids}).with_row_index("track").cast({"track": pl.Int32})
        self._rows = rows_per_chunk

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        rest = pl.DataFrame(schema={"playlist_id": pl.String, "track_id": pl.String})
        for batch in _batches(self._files, self._rows, rest.columns):
            rows = pl.concat([rest, pl.DataFrame(batch)])
            open_end = pl.col("playlist_id").rle_id() == pl.col("playlist_id").rle_id().last()
            rest = rows.filter(open_end)  # its playlist may go on in the next batch
            yield self._cut(rows.head(len(rows) - len(rest)))
        yield self._cut(rest)

    def _cut(self, rows: pl.DataFrame) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        runs = rows.with_columns(pl.col("playlist_id").rle_id().cast(pl.Int64).alias("playlist"))
        known = runs.join(self._index, on="track_id", maintain_order="left")
        return known["track"].to_numpy(), np.flatnonzero(np.diff(known["playlist"].to_numpy(), prepend=-1))


def _batches(files: Sequence[OpenFile], rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for open_file in files:
        with open_file() as source, pq.ParquetFile(source) as file:
            yield from file.iter_batches(rows, columns=columns)
