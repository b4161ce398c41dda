"""Fitting outside a pipeline; what a run makes of it is tested in tests/pipelines/lifecycle/test_train.py."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from tiny_dataset import FIRST_DAY, History, dataset_of, pattern, small_config, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.slow_moments import slow_moments
from fsvae.models.train_config import OptimiserConfig, TrainConfig
from fsvae.models.trainer import fit

MIDNIGHT = FIRST_DAY * DAY_US


def model(data: Dataset, **changes: object) -> FSVAENetwork:
    torch.manual_seed(0)
    return FSVAENetwork.for_dataset(data, small_config(**changes))


@pytest.mark.parametrize(
    ("changes", "criterion"),
    [({}, "val/l2"), ({"likelihood": "track_softmax", "softmax_weight": 0.0}, "val/nll")],
    ids=["a distance is learned", "tracks alone are learned"],
)
def test_the_network_has_the_weights_of_its_best_epoch_not_of_the_last(
    changes: dict[str, object], criterion: str, tmp_path: Path
) -> None:
    data, told = pattern(), []
    network = model(data, **changes)
    wild = OptimiserConfig(learning_rate=0.5, warmup_share=0.0, final_share=1.0)
    config = TrainConfig(max_epochs=9, patience=1, batch_listens=64, optimiser=wild)
    fitted = fit(network, data, config, 1, tmp_path, on_epoch=lambda epoch, metrics: told.append(metrics[criterion]))
    assert fitted.epochs == len(told) < 9 and fitted.best == min(told) < told[-1]
    weights = {f"model.{name}": weight for name, weight in network.state_dict().items()}
    best, last = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"] for name in ("best", "last"))
    assert best.keys() == weights.keys() and all(torch.equal(best[name], weights[name]) for name in best)
    assert not all(torch.equal(last[name], weights[name]) for name in last)


def test_a_config_can_be_tried_on_a_few_batches(tmp_path: Path) -> None:
    data = pattern()
    fit(model(data), data, TrainConfig(max_epochs=2, batch_listens=16), 1, tmp_path, max_batches=3)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


def test_few_batches_are_no_reason_to_warn(tmp_path: Path) -> None:
    data = pattern()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit(model(data), data, TrainConfig(max_epochs=1, batch_listens=64), 1, tmp_path, logger=CSVLogger(tmp_path))
    assert [str(one.message) for one in told if "number of training batches" in str(one.message)] == []


def test_slow_features_are_normalised_by_what_the_training_period_knows() -> None:
    histories: dict[str, History] = {
        "a": [(0, MIDNIGHT), (1, MIDNIGHT + DAY_US), (1, MIDNIGHT + 3 * DAY_US), (2, MIDNIGHT + 9 * DAY_US)],
        "b": [(2, MIDNIGHT + 2 * DAY_US)],
    }
    data = dataset_of(histories, unit_vectors(3, 6), MIDNIGHT + 5 * DAY_US, MIDNIGHT + 20 * DAY_US)
    mean, std = slow_moments(data)
    # Snapshots of a's days 1 and 3: nothing is known on the first day of either, and day 9 is behind the cut.
    rows = data.slow_row[[1, 2]]
    known = data.snapshots.features(rows)
    assert known[:, 0].tolist() == [1, 1]
    torch.testing.assert_close(mean, torch.from_numpy(known.mean(axis=0)))
    spread = known.std(axis=0)
    torch.testing.assert_close(std, torch.from_numpy(np.where(spread < 1e-6, 1, spread)))
