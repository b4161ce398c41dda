"""Anchored chunks: what is cut where, and that every target is there as often as it should be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_dataset import FIRST_DAY, all_slow, dataset_of, random_histories, unit_vectors

from fsvae.data.chunks import (
    Batcher,
    Chunks,
    anchor,
    evaluation_chunks,
    training_chunks,
)
from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.listens import Listens
from fsvae.features.clock import DAY_US

FOREVER = np.iinfo(np.int64).max


def listens_of(lengths: list[int]) -> Listens:
    """User u's n-th listen is at time n."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    times = np.concatenate([np.arange(length) for length in lengths] or [[]]).astype(np.int64)
    return Listens(offsets, np.zeros(len(times), dtype=np.int32), times, np.ones(len(times), dtype=np.float32))


def rows(chunks: Chunks) -> list[tuple[int, int, int]]:
    return list(zip(chunks.start.tolist(), chunks.length.tolist(), chunks.first_target.tolist(), strict=True))


def targets(chunks: Chunks) -> list[tuple[int, int]]:
    """(flat position, position within the chunk) of each target."""
    return [(start + n, n) for start, length, first in rows(chunks) for n in range(first, length)]


def test_the_anchor_moves_every_l_listens_and_stays_at_least_l_behind() -> None:
    n = np.arange(14)
    assert anchor(n, 4).tolist() == [0] * 8 + [4] * 4 + [8] * 2
    many = np.arange(1000)
    context = many - anchor(many, 7)
    assert context[7:].min() == 7 and context.max() == 13 and (context[:7] == many[:7]).all()


def test_training_chunks_by_hand() -> None:
    """L = 4; users with 10, 4 and 5 listens, of which the ninth and later are not of the training period."""
    chunks = training_chunks(listens_of([10, 0, 4, 5]), 9, 4)
    assert rows(chunks) == [(0, 8, 0), (4, 5, 0), (8, 1, 0), (10, 4, 0), (14, 5, 0), (18, 1, 0)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), until=st.integers(0, 45), history=st.integers(1, 9)
)
def test_every_training_listen_is_a_target_once_with_a_short_and_once_with_a_long_context(
    lengths: list[int], until: int, history: int
) -> None:
    listens = listens_of(lengths)
    chunks = training_chunks(listens, until, history)
    found = targets(chunks)
    expected = np.flatnonzero(listens.played_at < until)
    short = Counter(flat for flat, within in found if within < history)
    long = Counter(flat for flat, within in found if within >= history)
    assert short == Counter(expected.tolist())
    assert long == Counter(expected[listens.n_before[expected] >= history].tolist())
    for flat, within in found:
        n = int(listens.n_before[flat])
        assert within <= n
        if within >= history or n < history:
            assert n - within == max(0, (n // history - 1) * history)


def test_evaluation_chunks_by_hand() -> None:
    """L = 4, the period is [6, 13): 16 listens are cut at 0 (6, 7), 4 (8-11) and 8 (12); a user of before at none."""
    chunks = evaluation_chunks(listens_of([16, 6, 7]), 6, 13, 4)
    assert rows(chunks) == [(0, 8, 6), (4, 8, 4), (8, 5, 4), (22, 7, 6)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    span=st.tuples(st.integers(0, 45), st.integers(0, 45)),
    history=st.integers(1, 9),
)
def test_every_evaluated_listen_is_a_target_once_behind_its_own_anchor(
    lengths: list[int], span: tuple[int, int], history: int
) -> None:
    listens = listens_of(lengths)
    begin, end = min(span), max(span)
    found = targets(evaluation_chunks(listens, begin, end, history))
    expected = np.flatnonzero((listens.played_at >= begin) & (listens.played_at < end))
    assert sorted(flat for flat, _ in found) == expected.tolist()
    for flat, within in found:
        n = int(listens.n_before[flat])
        assert n - within == max(0, (n // history - 1) * history)
        assert within >= min(n, history)


def test_a_batch_holds_the_listens_and_their_snapshots() -> None:
    histories = random_histories([9, 3, 1], 8, seed=0)
    data = dataset_of(histories, unit_vectors(6, 4), FOREVER, FOREVER, outside=2)
    chunks = training_chunks(data.listens, FOREVER, 2)
    batcher = Batcher(data, chunks, catalogue_targets_only=True)
    batch = batcher[np.array([1, 5, len(chunks) - 1])]
    assert batch.listen_BT.shape == (3, 4)
    for row, chunk in enumerate([1, 5, len(chunks) - 1]):
        for n in range(4):
            flat = int(chunks.start[chunk]) + n
            if n >= chunks.length[chunk]:
                assert not batch.target_BT[row, n]
                continue
            assert batch.listen_BT[row, n] == flat
            assert batch.track_BT[row, n] == data.listens.track[flat]
            assert bool(batch.target_BT[row, n]) == (data.listens.track[flat] < 6)
            slow = batch.slow_SD[batch.slow_index_BT[row, n]].numpy()
            assert np.array_equal(slow, all_slow(data)[data.slow_row[flat]])
            assert batch.features_BTF[row, n, -1] == data.listens.played_fraction[flat]
            assert batch.features_BTF[row, n, :-1].tolist() == batch.request_BTR[row, n].tolist()
    every = Batcher(data, chunks, catalogue_targets_only=False)[np.arange(len(chunks))]
    assert int(every.target_BT.sum()) == len(targets(chunks))


def test_the_first_listen_of_a_chunk_still_knows_the_pause_before_it() -> None:
    times = [FIRST_DAY * DAY_US + n * 60_000_000 for n in range(5)]
    data = dataset_of({"u": [(0, time) for time in times]}, unit_vectors(2, 4), FOREVER, FOREVER)
    batch = Batcher(data, training_chunks(data.listens, FOREVER, 2), False)[np.array([1])]
    gap = np.log(61) / np.log1p(28 * 86_400)
    assert batch.features_BTF[0, 0, 0].item() == pytest.approx(gap, rel=1e-6)


def test_the_data_module_trains_before_the_cut_and_validates_after_it() -> None:
    histories = random_histories([9, 30, 14], 8, seed=4)
    times = sorted(time for history in histories.values() for _, time, *_ in history)
    cuts = times[30], times[45]
    data = dataset_of(histories, unit_vectors(6, 4), *cuts, outside=2)
    module = ChunkDataModule(data, history=4, batch_listens=12, seed=0)

    def heard(loader: object) -> Counter[int]:
        return Counter(flat for batch in loader for flat in batch.listen_BT[batch.target_BT].tolist())  # type: ignore[attr-defined]

    inside = data.listens.track < 6
    train = np.flatnonzero((data.listens.played_at < cuts[0]) & inside)
    assert set(heard(module.train_dataloader())) == set(train.tolist())
    validation = data.targets("validation")
    assert heard(module.val_dataloader()) == Counter(validation[inside[validation]].tolist())
