"""Corpus: the same each time they are read, a chunk at a time, cut as sessions are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from fsvae.features.corpus import Corpus, Listening, PlaylistFiles, SequenceFiles, TrainingSessions
from fsvae.schema import PLAYLISTS, SEQUENCES, TIMESTAMP

MINUTE = 60_000_000
END = 1_000 * MINUTE


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def users(*listens: list[tuple[int, int]]) -> Listening:
    """Users as lists of (track, minute)."""
    flat = [listen for user in listens for listen in user]
    offsets = np.cumsum([0, *(len(user) for user in listens)], dtype=np.int64)
    minutes = np.array([minute for _, minute in flat], dtype=np.int64)
    return offsets, ints(*(track for track, _ in flat)), minutes * MINUTE


def read(corpus: Corpus) -> list[list[int]]:
    return [sentence.tolist() for sentence in corpus]


class Restartable:
    """Chunks that count how often they are begun and how many of them are asked for."""

    def __init__(self, *chunks: Listening) -> None:
        self.chunks, self.begun, self.given = chunks, 0, 0

    def __iter__(self) -> Iterator[Listening]:
        self.begun += 1
        for chunk in self.chunks:
            self.given += 1
            yield chunk


def test_flat_arrays_are_cut_where_sentences_start() -> None:
    corpus = Corpus([(ints(5, 6, 7, 8), np.array([0, 3])), (ints(9), np.array([0])), (ints(), np.array([]))])
    assert read(corpus) == [[5, 6, 7], [8], [9]] == read(corpus)


def test_a_pause_of_more_than_30_minutes_and_another_user_start_a_session() -> None:
    rows = users([(0, 0), (1, 30), (2, 61)], [], [(3, 62), (4, 63)])
    assert read(Corpus(TrainingSessions([rows], END, 10))) == [[0, 1], [2], [3, 4]]


def test_listens_from_the_end_of_training_on_are_not_seen() -> None:
    rows = users([(0, 998), (1, 999), (2, 1_000), (3, 1_001)], [(4, 1_000)])
    assert read(Corpus(TrainingSessions([rows], END, 10))) == [[0, 1]]


def test_tracks_outside_the_catalogue_are_left_out_and_do_not_part_a_session() -> None:
    """7 lies between 1 and 2, which are 40 minutes apart; 8 opens the session of 4; of that of 9 nothing is left."""
    rows = users([(1, 0), (7, 20), (2, 40), (8, 100), (4, 101), (9, 200), (3, 300)])
    assert read(Corpus(TrainingSessions([rows], END, 7))) == [[1, 2], [4], [3]]


def test_one_chunk_at_a_time_is_read_and_all_of_them_once_for_each_pass() -> None:
    source = Restartable(users([(0, 0), (1, 1)]), users([(2, 0)]), users([(3, 0)]))
    corpus = Corpus(TrainingSessions(source, END, 10))
    first = iter(corpus)
    assert next(first).tolist() == [0, 1] and source.given == 1
    assert next(first).tolist() == [2] and source.given == 2
    source.begun = 0
    assert read(corpus) == read(corpus) == [[0, 1], [2], [3]]
    assert source.begun == 2


def test_a_sequences_file_gives_the_same_sessions_however_it_is_read(tmp_path: Path) -> None:
    offsets, track, played_at = users([(0, 0), (1, 30), (2, 61)], [(3, 62)], [(4, 0), (5, 1)])
    at, fractions = pa.array(played_at, pa.int64()).cast(TIMESTAMP), pa.array([1.0] * 6, pa.float32())
    columns = [pa.array(["a", "b", "c"])] + [
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values) for values in (pa.array(track), at, fractions)
    ]
    path = tmp_path / "sequences.parquet"
    pq.write_table(pa.table(columns, schema=SEQUENCES), path, row_group_size=2)
    sessions = [[0, 1], [2], [3], [4, 5]]
    for users_per_chunk, n_chunks in ((1, 3), (2, 2), (1_000, 1)):
        chunks = SequenceFiles([partial(open, path, "rb")], users_per_chunk)
        assert sum(1 for _ in chunks) == n_chunks
        assert read(Corpus(TrainingSessions(chunks, END, 10))) == sessions
    two = SequenceFiles([partial(open, path, "rb")] * 2)
    assert read(Corpus(TrainingSessions(two, END, 10))) == sessions * 2


@pytest.mark.parametrize("rows_per_chunk", [1, 2, 3, 4, 1_000])
def test_playlists_are_whole_however_they_are_read(tmp_path: Path, rows_per_chunk: int) -> None:
    """`x` is outside the catalogue: nothing is left of playlist q, and r and s are parted although q is gone."""
    p, q, r = [("p", "b"), ("p", "x"), ("p", "a"), ("p", "b")], ("q", "x"), [("r", "c"), ("r", "a")]
    rows = [("o", "a"), *p, q, *r, ("s", "c")]
    playlist, track = zip(*rows, strict=True)
    files = []
    for name, begin, end in (("one", 0, 7), ("two", 7, 9)):
        columns = [pa.array(playlist[begin:end]), pa.array(range(begin, end), pa.int32()), pa.array(track[begin:end])]
        pq.write_table(pa.table(columns, schema=PLAYLISTS), tmp_path / name)
        files.append(partial(open, tmp_path / name, "rb"))
    corpus = Corpus(PlaylistFiles(files, ["a", "b", "c"], rows_per_chunk))
    assert read(corpus) == [[0], [1, 0, 1], [2, 0], [2]] == read(corpus)


def test_a_chunk_of_playlists_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    columns = [pa.array(["p", "q"]), pa.array([0, 0], pa.int32()), pa.array(["a", "a"])]
    pq.write_table(pa.table(columns, schema=PLAYLISTS), tmp_path / "one")

    def gone() -> None:
        raise OSError("not yet")

    corpus = iter(Corpus(PlaylistFiles([partial(open, tmp_path / "one", "rb"), gone], ["a"])))
    assert next(corpus).tolist() == [0]
    with pytest.raises(OSError, match="not yet"):
        next(corpus)
