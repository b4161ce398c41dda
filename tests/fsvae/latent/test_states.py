"""States: those of the evaluation, with one side or both, and of whom they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_dataset import (
    FIRST_DAY,
    HOUR_US,
    dataset_of,
    random_histories,
    random_model,
    small_config,
    unit_vectors,
)

from fsvae.data.chunks import Batcher, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US
from fsvae.latent.states import encode, latest_days, mean_request, most_active, some_listens
from fsvae.models.fsvae import FSVAENetwork

CATALOGUE, DIM = 12, 6
FOREVER = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
ALL = slice(None)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Users with fewer, as many and many more listens than the model's history of 4."""
    histories = random_histories([1, 3, 9, 23, 40], CATALOGUE + 2, seed=1)
    return dataset_of(histories, unit_vectors(CATALOGUE, DIM), train_until=0, validation_until=1, outside=2)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> FSVAENetwork:
    return random_model(dataset, small_config())


@torch.inference_mode()
def evaluated(model: FSVAENetwork, dataset: Dataset) -> NDArray[np.float32]:
    """The posterior's mean before every listen, from the chunks that evaluation runs."""
    chunks = evaluation_chunks(dataset.listens, *FOREVER, model.history)
    batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
    mean_NZ = np.full((len(dataset.listens), model.config.latent_dim), np.nan, dtype=np.float32)
    for row in range(len(chunks)):
        batch = batcher[np.array([row])]
        mean_NZ[batch.listen_BT[batch.target_BT].numpy()] = model(batch).posterior.mean.numpy()
    return mean_NZ


@pytest.mark.parametrize(
    ("every", "changes"), [(1, {}), (3, {}), (50, {}), (3, {"fast": "shuffled"}), (3, {"slow_memory": True})]
)
def test_states_are_those_that_evaluation_predicts_from(
    dataset: Dataset, every: int, changes: dict[str, object]
) -> None:
    model = random_model(dataset, small_config(**changes))
    positions = np.arange(len(dataset.listens))[::every]
    states = encode(model, dataset, positions)
    np.testing.assert_allclose(states.mean_NZ, evaluated(model, dataset)[positions], rtol=0, atol=1e-5)
    assert np.array_equal(states.positions, positions)


def test_a_state_reads_nothing_from_its_listen_on(model: FSVAENetwork, dataset: Dataset) -> None:
    """What is heard at and after a listen is something else, and later: the state before it stays as it was."""
    offsets = dataset.listens.offsets
    for user in range(dataset.listens.n_users):
        at = int(offsets[user + 1] - 1 - (offsets[user + 1] - offsets[user]) // 3)
        track, played_at = dataset.listens.track.copy(), dataset.listens.played_at.copy()
        track[at:] = (track[at:] + 1) % CATALOGUE
        later = np.arange(len(track)) > at
        played_at[later & (dataset.listens.user == user)] += DAY_US // 100
        listens = dataclasses.replace(dataset.listens, track=track, played_at=played_at)
        changed = dataclasses.replace(dataset, listens=listens)
        some = np.array([at])
        assert np.array_equal(encode(model, changed, some).mean_NZ, encode(model, dataset, some).mean_NZ)
        behind = np.array([at + 1]) if at + 1 < offsets[user + 1] else None
        if behind is not None:
            assert not np.allclose(encode(model, changed, behind).mean_NZ, encode(model, dataset, behind).mean_NZ)


def test_one_side_alone_does_not_read_the_other(model: FSVAENetwork, dataset: Dataset) -> None:
    """Without recent listens they may be any; without slow features a user is as unknown as one can be."""
    positions = dataset.listens.offsets[1:] - 1
    listens = dataclasses.replace(dataset.listens, track=(dataset.listens.track + 3) % CATALOGUE)
    heard_otherwise = dataclasses.replace(dataset, listens=listens)
    sums = dataclasses.replace(dataset.snapshots.sums, total=0 * dataset.snapshots.sums.total)
    blank = dataclasses.replace(dataset.snapshots, habits=0 * dataset.snapshots.habits, sums=sums)
    unknown = dataclasses.replace(dataset, snapshots=blank)

    slow = encode(model, dataset, positions, fast=False).mean_NZ
    assert np.allclose(slow, encode(model, heard_otherwise, positions, fast=False).mean_NZ)
    fast = encode(model, dataset, positions, slow=False).mean_NZ
    assert np.allclose(fast, encode(model, unknown, positions).mean_NZ, atol=1e-6)
    both = encode(model, dataset, positions).mean_NZ
    known = np.diff(dataset.listens.offsets) > 8  # several days with listens
    for one_side in (slow, fast):
        assert (np.abs(one_side - both).max(axis=1) > 1e-3)[known].all()


def test_kl_and_variance_are_the_posteriors(model: FSVAENetwork, dataset: Dataset) -> None:
    """KL(N(m, v) || N(0, 1)) = (v + m^2 - 1 - log v) / 2, in each dimension."""
    states = encode(model, dataset, np.array([0, 7]))
    mean, variance = states.mean_NZ, states.variance_NZ
    np.testing.assert_allclose(states.kl_NZ, (variance + mean**2 - 1 - np.log(variance)) / 2, rtol=1e-4)
    np.testing.assert_allclose(states.kl_of_mean_NZ, mean**2 / 2, rtol=1e-4)
    point = encode(random_model(dataset, small_config(latent="deterministic")), dataset, np.array([0, 7]))
    assert not point.kl_NZ.any() and not point.variance_NZ.any() and point.mean_NZ.any()
    assert not point.kl_of_mean_NZ.any()


@pytest.mark.parametrize(
    ("changes", "of_mean", "of_variance"),
    [
        ({}, [0, 0.5, 2, 8, 4.5], (np.exp(-5) - 1 + 5) / 2),  # 2.003 nats in each dimension
        ({"prior": "slow"}, [0.125, 0, 0.125, 1.125, 2], (np.exp(-5) / 4 - 1 + np.log(4) + 5) / 2),  # N(1, 4)
    ],
)
def test_the_kl_is_split_into_what_the_mean_and_what_the_variance_costs(
    dataset: Dataset, changes: dict[str, object], of_mean: list[float], of_variance: float
) -> None:
    """All posteriors are N((0, 1, 2, 4, -3), e^-5): (m - a)^2 / 2b for the mean, the rest for the variance."""
    model = random_model(dataset, small_config(**changes), scale=0.0)
    with torch.no_grad():
        assert model.latent.log_variance is not None
        model.latent.mean.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 4.0, -3.0]))
        model.latent.log_variance.bias.fill_(-5.0)
        if model.prior is not None:
            model.prior.mean.bias.fill_(1.0)
            model.prior.log_variance.bias.fill_(np.log(4))
    states = encode(model, dataset, np.array([0, 7]))
    np.testing.assert_allclose(states.kl_of_mean_NZ, [of_mean, of_mean], rtol=1e-5)
    np.testing.assert_allclose(states.kl_NZ - states.kl_of_mean_NZ, np.full((2, 5), of_variance), rtol=1e-5)


def test_kl_is_to_the_prior_that_the_model_has(dataset: Dataset) -> None:
    """A user of whom nothing is known has the same prior in both; with a slow prior it is the heads' biases.

    KL(N(m, v) || N(a, b)) = ((v + (m - a)^2) / b - 1 + log b - log v) / 2.
    """
    model = random_model(dataset, small_config(prior="slow"))
    assert model.prior is not None
    some = np.array([0, 7])
    states = encode(model, dataset, some, slow=False)
    a, b = (head.bias.detach().numpy() for head in (model.prior.mean, model.prior.log_variance))
    mean, variance = states.mean_NZ, states.variance_NZ
    expected = ((variance + (mean - a) ** 2) / np.exp(b) - 1 + b - np.log(variance)) / 2
    np.testing.assert_allclose(states.kl_NZ, expected, rtol=1e-3)


def test_states_can_be_asked_for_with_one_request(model: FSVAENetwork, dataset: Dataset) -> None:
    """The posterior's mean is W (fast, slow, request) + b: between two requests it moves by W of their difference.

    Asked with the mean request, the states are on average where they are on average with their own.
    """
    positions = np.flatnonzero(dataset.listens.user == 4)[1:]
    weight_ZR = model.latent.mean.weight[:, -6:].detach().numpy()
    mean_R = mean_request(dataset.listens, positions)
    own, asked = encode(model, dataset, positions), encode(model, dataset, positions, request_R=mean_R)
    at_zero = encode(model, dataset, positions, request_R=np.zeros(6, dtype=np.float32))
    moved_NZ = np.tile(weight_ZR @ mean_R, (len(positions), 1))
    np.testing.assert_allclose(asked.mean_NZ - at_zero.mean_NZ, moved_NZ, atol=1e-5)
    np.testing.assert_allclose(asked.mean_NZ.mean(axis=0), own.mean_NZ.mean(axis=0), atol=1e-5)
    assert np.abs(asked.mean_NZ - own.mean_NZ).max() > 0.1


def test_the_mean_request_is_one_between_the_hours() -> None:
    """At 6 h and at 18 h of one day: sines of 1 and -1, cosines of 0; the first listen has the longest gap (1, a new
    session), 12 hours are log(1 + 43,200) / log(1 + 2,419,200) = .7262, a new session too. Day 20,000 is a Friday."""
    data = of_times({"ann": [6, 18]})
    friday = 4 / 7 * 2 * np.pi
    expected = [(1 + 0.7262) / 2, 1, 0, 0, np.sin(friday), np.cos(friday)]
    np.testing.assert_allclose(mean_request(data.listens, np.arange(2)), expected, atol=1e-4)


def of_times(histories: dict[str, list[float]]) -> Dataset:
    """Users and the hours of their listens, counted from the first day."""
    return dataset_of(
        {
            user: [(index % 3, FIRST_DAY * DAY_US + round(hour * HOUR_US)) for index, hour in enumerate(hours)]
            for user, hours in histories.items()
        },
        unit_vectors(3, 4),
        train_until=0,
        validation_until=1,
    )


def test_every_user_has_one_state_on_the_map_before_any_has_two() -> None:
    """ann has ten listens, bob two, cat one before the time from which they are drawn."""
    data = of_times({"ann": [24 + hour for hour in range(10)], "bob": [25, 26], "cat": [3]})
    begin = (FIRST_DAY + 1) * DAY_US
    two = some_listens(data, begin, 2, seed=1)
    assert data.listens.user[two].tolist() == [0, 1]
    five = some_listens(data, begin, 5, seed=1)
    assert data.listens.user[five].tolist() == [0, 0, 0, 1, 1] and (np.diff(five) > 0).all()
    assert some_listens(data, begin, 99, seed=1).tolist() == list(range(12))
    assert not np.array_equal(five, some_listens(data, begin, 5, seed=2))


def test_the_most_active_users_listen_on_most_of_the_last_days() -> None:
    """The dataset reaches to the end of day 4. In its last two days ann has one active day, bob and cat two; cat
    listens more. dan listened every day before."""
    data = of_times(
        {"ann": [73, 74, 75, 76, 77], "bob": [73, 119], "cat": [73, 74, 119], "dan": [*range(70)], "eve": [73, 119]}
    )
    assert data.manifest["as_of_day"] == FIRST_DAY + 5
    assert most_active(data, days=2, count=4).tolist() == [2, 1, 4, 0]
    assert data.listens.user[latest_days(data, np.array([0, 3]), 2)].tolist() == [0] * 5
    assert data.listens.user[latest_days(data, np.array([3]), 3)].tolist() == [3] * 22
