"""The last fit of the gates: how far the network is believed is learned from listens that it has not learned from."""

from __future__ import annotations

import pytest
import torch
from tiny_dataset import FIRST_DAY, dataset_of, random_model, small_config, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US, HOUR_US
from fsvae.memory.supports import remember
from fsvae.models.fit_gates import fit_gates
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.later_listens import later_listens

START = FIRST_DAY * DAY_US
MEMORY = dict.fromkeys(("slow_memory", "fast_memory", "shared_memory"), True)


def in_turn() -> Dataset:
    """Ten users who play the same four of eight tracks in turn."""
    histories = {f"u{u}": [(n % 4, START + (u + 10 * n) * HOUR_US) for n in range(60)] for u in range(10)}
    return dataset_of(histories, unit_vectors(8, 6), START + 400 * HOUR_US, START + 500 * HOUR_US)


def believing(data: Dataset) -> FSVAENetwork:
    """A model whose network knows nothing, and whose gates believe it all the same."""
    model = random_model(data, small_config(**MEMORY))
    assert model.gates is not None
    with torch.no_grad():
        last = model.gates.mlp[2]
        last.weight.zero_()  # type: ignore[operator]
        last.bias.zero_()  # type: ignore[operator]
        last.bias[-1] = 8.0  # type: ignore[operator, index]
    return model


@torch.inference_mode()
def of_validation(model: FSVAENetwork, data: Dataset) -> tuple[float, float]:
    """The share of the network and -log p of the targets of the validation period, means."""
    rest, nll = [], []
    for batch, _ in later_listens(data, remember(data), *data.period("validation"), model.history, seed=1):
        prediction, target_N = model(batch), batch.track_BT[batch.target_BT]
        assert prediction.gates is not None and batch.memory is not None
        rest.append(prediction.gates.rest_N)
        of_network_N = model.softmax_of(prediction, target_N, batch.memory)
        nll.append(-(prediction.gates.of_target(batch.memory) + prediction.gates.rest_N * of_network_N).log())
    return float(torch.cat(rest).mean()), float(torch.cat(nll).mean())


def test_a_network_that_knows_nothing_of_later_listens_is_believed_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsvae.models.fit_gates._LEARNING_RATE", 0.1)  # a log this small has ten steps
    data = in_turn()
    model = believing(data)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = of_validation(model, data)
    fit_gates(model, data, remember(data), *data.period("validation"), seed=1)
    after = of_validation(model, data)
    assert before[0] > 0.9 and after[0] < 0.7 and after[1] < before[1] - 0.5
    moved = {
        name.split(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, weights[name])
    }
    assert moved == {"gates"}


def test_the_same_seed_fits_the_same_gates() -> None:
    data, fitted = in_turn(), []
    for seed in (1, 1, 2):
        model = believing(data)
        fit_gates(model, data, remember(data), *data.period("validation"), seed=seed)
        assert model.gates is not None
        fitted.append(model.gates.mlp[0].weight.detach().clone())  # type: ignore[union-attr]
    assert torch.equal(fitted[0], fitted[1]) and not torch.equal(fitted[0], fitted[2])


def test_many_listens_are_drawn_from_and_few_are_all_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_turn()
    held, span = remember(data), data.period("validation")

    def taken(seed: int) -> list[int]:
        batches = later_listens(data, held, *span, history=4, seed=seed)
        return sorted(x for batch, _ in batches for x in batch.listen_BT[batch.target_BT].tolist())

    assert taken(1) == data.targets("validation").tolist()
    monkeypatch.setattr("fsvae.models.later_listens.MOST_TARGETS", 50)
    assert 20 < len(taken(1)) < 80 and taken(1) == taken(1) != taken(2)
