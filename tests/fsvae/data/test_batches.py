"""Batches: every chunk once, about as many listens in each, an order that seed and epoch alone decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_dataset import dataset_of, random_histories, unit_vectors

from fsvae.data import batches as module
from fsvae.data.batches import ShuffledBatches, one_pass, ordered_batches
from fsvae.data.chunks import Batcher, evaluation_chunks

FOREVER = 2**62
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 9, size=103)
SKEWED = np.where(RNG.random(4_000) < 0.9, 1, 256)
"""Nine of ten users have one listen."""


def order(batches: ShuffledBatches | list[NDArray[np.int64]]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("length", [LENGTHS, SKEWED, np.array([8, 8]), np.array([3])])
@pytest.mark.parametrize("listens", [1, 8, 50, 1_024, 10**9])
def test_every_chunk_is_in_one_batch_and_none_is_empty(length: NDArray[np.int64], listens: int) -> None:
    for batches in (ShuffledBatches(length, listens, seed=1), ordered_batches(length, listens)):
        found = order(batches)
        assert len(found) == len(batches)
        assert sorted(chunk for batch in found for chunk in batch) == list(range(len(length)))
        assert all(found)


def test_batches_have_about_as_many_listens_of_many_users_or_of_few() -> None:
    for batches in (ShuffledBatches(SKEWED, 1_024, seed=1), ordered_batches(SKEWED, 1_024)):
        sizes = [int(SKEWED[batch].sum()) for batch in batches]
        assert len(sizes) == SKEWED.sum() // 1_024
        assert min(sizes) >= 1_024 - 256 and max(sizes) <= 1_024 + 2 * 256
    assert len(ShuffledBatches(np.zeros(0, dtype=np.int64), 8, seed=1)) == 0


def test_chunks_of_like_length_go_together() -> None:
    batches = ShuffledBatches(SKEWED, 1_024, seed=1)
    mixed = [batch for batch in batches if len(set(SKEWED[batch].tolist())) > 1]
    assert len(mixed) <= 2 * (1 + len(batches) // 50)


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    def epoch(seed: int, number: int) -> list[list[int]]:
        batches = ShuffledBatches(LENGTHS, 8, seed)
        batches.set_epoch(number)
        return order(batches)

    batches = ShuffledBatches(LENGTHS, 8, seed=1)
    for number in (2, 0, 1, 2):  # epochs that were run before do not matter: a resumed run has not run them
        np.random.default_rng().random()
        batches.set_epoch(number)
        assert order(batches) == epoch(1, number) == order(batches)
    assert len({str(epoch(seed, number)) for seed in (1, 2) for number in (0, 1, 2)}) == 6


def test_ordered_batches_begin_with_the_longest() -> None:
    """26 listens make two batches of at least 9, 13 each: 9 and the 9 that begins before the thirteenth; the rest."""
    assert order(ordered_batches(np.array([3, 9, 1, 9, 4]), 9)) == [[1, 3], [4, 0, 2]]


def test_one_pass_has_every_target_once_and_few_scores_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset_of(random_histories([9, 30, 14], 6, seed=4), unit_vectors(6, 4), FOREVER, FOREVER)
    batcher = Batcher(data, evaluation_chunks(data.listens, 0, FOREVER, 4), catalogue_targets_only=False)
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 42)
    for scored, most in ((0, 53), (6, 7), (10**6, 1)):
        found = [batch.listen_BT[batch.target_BT] for batch in one_pass(batcher, scored)]
        assert max(map(len, found)) <= most
        assert torch.cat(found).sort().values.tolist() == list(range(53))
