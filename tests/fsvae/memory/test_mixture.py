"""The mixture of the memory and the network: rows that sum to 1, and the same p in training and in a whole row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.memory.contexts import AGE_PARTS, EXPERTS
from fsvae.memory.gates import MemoryGates
from fsvae.memory.ranker import N_FEATURES
from fsvae.memory.rows import Memory
from fsvae.memory.supports import remember
from fsvae.models.predict import NetworkPredictor

PARTS = ("slow_memory", "fast_memory", "shared_memory")
EVER = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)


def a_dataset() -> Dataset:
    histories = random_histories([1, 3, 25, 60, 90], 12, seed=4)
    times = [listen[1] for history in histories.values() for listen in history]
    return dataset_of(histories, unit_vectors(9, 6), int(np.median(times)), max(times), outside=3)


def random_gates(enabled: list[bool] | None = None) -> MemoryGates:
    torch.manual_seed(3)
    gates = MemoryGates(4, 2, 16, enabled or [True] * (len(EXPERTS) + len(AGE_PARTS)), records=True)
    torch.nn.init.normal_(gates.discount)
    return gates.eval()


@torch.inference_mode()
def test_the_memory_and_what_is_left_to_the_network_sum_to_one() -> None:
    data = a_dataset()
    remembered = remember(data, tables_from=EVER[0])
    n = len(data.listens)
    gates = random_gates()(torch.randn(n, 4), torch.randn(n, 2), remembered.supports)
    ends = [*(time for time, _ in remembered.tables[1:]), EVER[1]]
    seen = 0
    for (begin, tables), end in zip(remembered.tables, ends, strict=True):
        rows = data.listens.between(begin, end)
        of_rows = type(gates)(*(part[rows] for part in gates))
        p_NT = Memory(data.listens, tables).probabilities(rows, of_rows)
        assert p_NT.min() > -1e-6
        np.testing.assert_allclose(p_NT.sum(axis=1) + of_rows.rest_N.numpy(), 1.0, atol=1e-5)
        of_target = of_rows.of_target(remembered.supports.at(torch.from_numpy(rows)))
        np.testing.assert_allclose(p_NT[np.arange(len(rows)), data.listens.track[rows]], of_target, atol=1e-5)
        seen += len(rows)
    assert seen == n and float(gates.rest_N.min()) > 0


@torch.inference_mode()
@pytest.mark.parametrize("off", ["slow", "fast", "shared"])
def test_a_part_that_is_off_gets_no_gate(off: str) -> None:
    parts = [*(expert.part for expert in EXPERTS), *AGE_PARTS]
    data = a_dataset()
    n = len(data.listens)
    gates = random_gates([part != off for part in parts])(torch.randn(n, 4), torch.randn(n, 2), remember(data).supports)
    sums = torch.cat([gates.expert_NE, gates.age_NB], dim=1).sum(dim=0)
    closed = torch.tensor([part == off for part in parts])
    assert float(sums[closed].abs().max()) == 0 and float(sums[~closed].max()) > 0


@torch.inference_mode()
@pytest.mark.parametrize("off", ["slow", "fast", "shared"])
def test_a_part_that_is_off_is_not_read_either(off: str) -> None:
    """Whatever its experts held, the gates and the ranker stay as they are."""
    data = a_dataset()
    model = random_model(data, small_config(**{**dict.fromkeys(PARTS, True), f"{off}_memory": False}))
    assert model.gates is not None and model.ranker is not None
    supports = remember(data).supports
    n = len(data.listens)
    closed = torch.tensor([expert.part == off for expert in EXPERTS])
    closed_age = torch.tensor([part == off for part in AGE_PARTS])
    other = supports._replace(
        total_NE=torch.where(closed, 7.0, supports.total_NE),
        ages_NB=torch.where(closed_age, 7.0, supports.ages_NB),
        record_NR=torch.where(closed.repeat(2), 0.7, supports.record_NR),
    )
    z, request = torch.randn(n, 5), torch.randn(n, 6)
    one, two = model.gates(z, request, supports), model.gates(z, request, other)
    assert torch.equal(one.inputs_NS, two.inputs_NS) and torch.equal(one.expert_NE, two.expert_NE)
    features = torch.rand(n, 3, N_FEATURES)
    changed = features.clone()
    changed[..., : len(closed)] = torch.where(closed, 9.0, features[..., : len(closed)])
    assert torch.equal(model.ranker(features, one.inputs_NS), model.ranker(changed, one.inputs_NS))


@pytest.mark.parametrize("likelihood", ["gaussian", "track_softmax"])
def test_the_predictions_of_a_model_sum_to_one_and_are_its_loss(likelihood: str) -> None:
    data = a_dataset()
    config = small_config(
        **dict.fromkeys(PARTS, True), likelihood=likelihood, softmax_weight=0.0 if likelihood != "gaussian" else 1.0
    )
    model = random_model(data, config)
    begin, end = data.period("validation")
    n_tracks = len(data.tracks)
    for part in NetworkPredictor(model).predict(data, begin, end):
        assert part.scores is not None and part.scores.shape[1] == n_tracks
        assert part.normalised
        np.testing.assert_allclose(part.scores.sum(axis=1), 1.0, atol=1e-4)
