"""Shuffled listens: which they are is kept, their order is not, and nothing later is among them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors
from torch import Tensor

from fsvae.data.chunks import Batcher, ChunkBatch, training_chunks
from fsvae.data.dataset import Dataset
from fsvae.models.encoders import FastEncoder
from fsvae.models.shuffled import shuffled_states

FOREVER = np.iinfo(np.int64).max


class InOrder(FastEncoder):
    """An encoder whose state is a number: its digits are the listens that it has read, in order."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1)

    def before(self, x_BTX: Tensor) -> Tensor:
        states = [torch.zeros(len(x_BTX), 1)]
        for at in range(x_BTX.shape[1] - 1):
            states.append(10 * states[-1] + x_BTX[:, at])
        return torch.stack(states, dim=1)


def read(digits: list[list[int]], targets: list[tuple[int, int]], at_random: bool) -> list[str]:
    """Which listens, each a digit, were read in which order for targets (chunk, position)."""
    x_BTX = torch.tensor(digits, dtype=torch.float32)[..., None]
    chunk, position = torch.tensor(targets, dtype=torch.int64).reshape(-1, 2).T
    states = shuffled_states(InOrder(), x_BTX, chunk, position, at_random)
    return ["".join(str(int(state))) if state else "" for state in states[:, 0].tolist()]


CHUNKS = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 1]]
TARGETS = [(0, 0), (0, 1), (0, 4), (1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize("at_random", [False, True])
def test_each_target_reads_the_listens_before_it_once_each(at_random: bool) -> None:
    torch.manual_seed(0)
    found = read(CHUNKS, TARGETS, at_random)
    assert ["".join(sorted(text)) for text in found] == ["", "1", "1234", "67", "678", "6789"]


def test_in_training_every_order_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    found = read(CHUNKS, [(0, 3)] * 6000, at_random=True)
    orders = ["".join(order) for order in itertools.permutations("123")]
    assert min(found.count(order) for order in orders) > 900 and sum(map(found.count, orders)) == 6000


def test_in_training_the_seed_decides() -> None:
    def drawn(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return read(CHUNKS, TARGETS * 3, at_random=True)

    assert drawn(1) == drawn(1) != drawn(2)


def test_in_evaluation_a_position_has_one_order_whatever_else_is_in_the_batch() -> None:
    torch.manual_seed(0)
    found = read(CHUNKS, TARGETS, at_random=False)
    torch.manual_seed(1)
    assert found == read(CHUNKS, TARGETS, at_random=False)
    assert [found[4]] == read([CHUNKS[1][:4]], [(0, 3)], at_random=False)
    assert [found[2].translate(str.maketrans("1234", "6789"))] == [found[5]]
    longer = read([list(range(1, 10))], [(0, position) for position in range(10)][:9], at_random=False)
    assert any(text != "".join(sorted(text)) for text in longer)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset_of(random_histories([9, 14, 5], 8, seed=1), unit_vectors(8, 6), FOREVER, FOREVER)


@pytest.fixture(scope="module")
def batch(data: Dataset) -> ChunkBatch:
    chunks = training_chunks(data.listens, FOREVER, 4)
    return Batcher(data, chunks, catalogue_targets_only=True)[np.arange(len(chunks))]


def test_more_targets_than_run_at_once_come_back_in_their_own_order(data: Dataset, batch: ChunkBatch) -> None:
    """The state of a target with one listen before it is that of the LSTM in order."""
    model = random_model(data, small_config())
    with torch.inference_mode():
        x_BTX = model.listen_inputs(batch.track_BT, batch.features_BTF)
        chunk_N = torch.arange(1000) % len(x_BTX)
        position_N = torch.arange(1000) % 2
        found = shuffled_states(model.fast, x_BTX, chunk_N, position_N, at_random=True)
        expected = model.fast.before(x_BTX)[chunk_N, position_N]
    torch.testing.assert_close(found, expected)
    assert shuffled_states(model.fast, x_BTX, chunk_N[:0], position_N[:0], at_random=True).shape == (0, 7)


def test_a_listen_moves_with_its_own_features(data: Dataset, batch: ChunkBatch) -> None:
    """Behind two listens there are two states: that of the one order and that of the other."""
    model = random_model(data, small_config())
    with torch.inference_mode():
        x_BTX = model.listen_inputs(batch.track_BT, batch.features_BTF)[:1, :2]
        swapped = x_BTX.flip(1)
        (plain,), (turned,) = (model.fast.before(torch.cat([x, x[:, :1]], 1))[:, 2] for x in (x_BTX, swapped))
        torch.manual_seed(0)
        many = torch.zeros(50, dtype=torch.int64)
        found = shuffled_states(model.fast, torch.cat([x_BTX, x_BTX], 1), many, many + 2, at_random=True)
    is_plain, is_turned = (torch.isclose(found, state, atol=1e-6).all(dim=1) for state in (plain, turned))
    assert (is_plain ^ is_turned).all() and is_plain.any() and is_turned.any()


@pytest.mark.parametrize("fast", ["on", "off", "shuffled"])
def test_the_model_learns_from_a_share_of_the_targets_and_predicts_all(
    data: Dataset, batch: ChunkBatch, fast: str
) -> None:
    model = random_model(data, small_config(fast=fast, target_share=0.25))
    targets = int(batch.target_BT.sum())
    assert len(model(batch).y_ND) == targets
    seen: list[int] = []
    model.likelihood.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    for seed in range(50):
        torch.manual_seed(seed)
        model.loss(batch, epochs=1.0)
    assert 0.2 * targets < np.mean(seen) < 0.3 * targets and len(set(seen)) > 5


def test_without_their_order_the_listens_tell_something_else(data: Dataset, batch: ChunkBatch) -> None:
    ordered, shuffled = (random_model(data, small_config(fast=fast)) for fast in ("on", "shuffled"))
    with torch.inference_mode():
        one, other = ordered(batch).y_ND, shuffled(batch).y_ND
        again = shuffled(batch).y_ND
    assert torch.equal(other, again)
    _, position = batch.target_BT.nonzero(as_tuple=True)
    same = torch.isclose(one, other, atol=1e-6).all(dim=1)
    assert same[position < 2].all() and not same[position > 4].all()
