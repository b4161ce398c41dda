"""What track vectors are learned from: sessions or playlists as arrays of track indices, read anew for every epoch.

Everything here is read in chunks and can be read again, so that no more than one chunk lies in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.features.sessions import is_session_start, previous_times

Sequences = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]
"""Some users' listens: offsets [U + 1], track index [N], played_at [N] in microseconds since 1970 UTC."""


class Sentences:
    """Sentences out of flat arrays: one array of track indices for each session or playlist.

    Iterate it as often as you like; each time it reads `chunks` once.
    """

    def __init__(self, chunks: Iterable[tuple[NDArray[np.int32], NDArray[np.int64]]]) -> None:
        """Take chunks of whole sentences.

        Args:
            chunks: restartable; pairs of [N] track indices, sentence after sentence, and [S] where each sentence
                begins in them (ascending, the first at 0). A list with one pair will do for what is in memory.
        """
        self._chunks = chunks

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for track, starts in self._chunks:
            for begin, end in pairwise([*starts.tolist(), len(track)]):
                yield track[begin:end]


class TrainingSessions:
    """The sessions of the training period, as chunks for `Sentences`: whole users in, whole sessions out.

    A session ends at a pause of more than 30 minutes (`fsvae.features.sessions`), at the user's last listen or where
    the training period ends. Tracks outside the catalogue are left out; they do not part a session.
    """

    def __init__(self, sequences: Iterable[Sequences], train_until_us: int, n_tracks: int) -> None:
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


class SequencesFile:
    """Users' listens out of a Parquet file with `schema.SEQUENCES`, some users at a time."""

    def __init__(self, path: Path, users_per_chunk: int = 1_000) -> None:
        """Take the file and how many users are read at once; memory is that of their listens."""
        self._path = path
        self._users = users_per_chunk

    def __iter__(self) -> Iterator[Sequences]:
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(self._users, columns=["track_index", "played_at"]):
                track, played_at = batch.column("track_index"), batch.column("played_at")
                lengths = track.value_lengths().to_numpy()
                yield (
                    np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
                    track.flatten().to_numpy().astype(np.int32, copy=False),
                    played_at.flatten().cast("int64").to_numpy(),
                )
