"""Ways through the latent: their ends, their stops, their steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_dataset import FIRST_DAY, HOUR_US, dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.data.dataset import PreparedDataset
from fsvae.features.slow import DAY_US
from fsvae.latent.paths import decode, line, nearest_track, path, random_pairs, smoothness, traversal
from fsvae.latent.states import States, encode
from fsvae.models.fsvae import FSVAE
from fsvae.models.predict import NetworkRecommender


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return dataset_of(random_histories([9, 12], 8, seed=2), unit_vectors(8, 4), train_until=0, validation_until=1)


@pytest.fixture(scope="module")
def model(dataset: PreparedDataset) -> FSVAE:
    return random_model(dataset, small_config())


def turning_model(dataset: PreparedDataset) -> FSVAE:
    """A model whose query is (1, z_0, 0, 0): what is decoded turns by arctan z_0."""
    model = random_model(dataset, small_config(), scale=0.0)
    with torch.no_grad():
        assert model.decoder.query is not None
        first = model.decoder.hidden[0]
        assert isinstance(first, torch.nn.Linear)
        first.weight[0, 0] = first.weight[1, 0] = 1.0
        first.weight[1] *= -1.0
        # LeakyReLU(z) - LeakyReLU(-z) = 1.01 z
        model.decoder.query.weight[1, 0] = 1 / 1.01
        model.decoder.query.weight[1, 1] = -1 / 1.01
        model.decoder.query.bias[0] = 1.0
    return model


def test_the_ends_of_a_way_are_what_the_users_would_be_recommended(model: FSVAE, dataset: PreparedDataset) -> None:
    last = dataset.listens.offsets[1:] - 1
    states = encode(model, dataset, last)
    ends = decode(model, line(states.mean_NZ[0], states.mean_NZ[1], 7))[[0, -1]]
    queries = {}
    for part in NetworkRecommender(model).predict(dataset, 0, np.iinfo(np.int64).max):
        assert part.queries is not None
        queries |= dict(zip(part.targets.tolist(), part.queries, strict=True))
    for end, target in zip(ends, last.tolist(), strict=True):
        np.testing.assert_allclose(end, queries[target] / np.linalg.norm(queries[target]), atol=1e-5)
        assert nearest_track(model, end) == (dataset.vectors @ queries[target]).argmax()


def test_a_line_has_equal_steps() -> None:
    assert line(np.float32([0, 4]), np.float32([2, 0]), 4).tolist() == [[0, 4], [0.5, 3], [1, 2], [1.5, 1], [2, 0]]


def test_smoothness_of_a_way_that_turns_by_a_right_angle(dataset: PreparedDataset) -> None:
    """z_0 from -1 to 1 in two steps: what is decoded turns from -45 to 0 to 45 degrees. From 0 to 1 in two steps it
    turns by arctan .5 = 26.57 degrees first, which is .590 of 45."""
    model = turning_model(dataset)
    assert decode(model, np.float32([[3, 9, 9, 9, 9]])) == pytest.approx(np.array([[1, 3, 0, 0]]) / 10**0.5)
    begin, end = np.zeros((2, 5), dtype=np.float32), np.zeros((2, 5), dtype=np.float32)
    begin[:, 0], end[:, 0] = [-1, 0], [1, 1]
    found = smoothness(model, begin, end, steps=2)
    half = 0.5**0.5
    assert found.neighbours == pytest.approx([half, half, 2 / 5**0.5, 3 / 10**0.5], abs=1e-6)
    assert found.ends == pytest.approx([0, half], abs=1e-6)
    assert found.largest_step == pytest.approx([0.5, 0.5903], abs=1e-4)


def test_a_traversal_moves_one_dimension_at_a_time() -> None:
    z = traversal(np.array([10.0, 20.0, 30.0]), np.array([1.0, 5.0, 2.0]), np.array([2, 0]))
    assert z[0].tolist() == [[10, 20, 26], [10, 20, 28], [10, 20, 30], [10, 20, 32], [10, 20, 34]]
    assert z[1, :, 0].tolist() == [8, 9, 10, 11, 12] and (z[1, :, 1:] == [20, 30]).all()
    assert traversal(np.zeros(3), np.ones(3), np.zeros(0, dtype=np.int64)).shape == (0, 5, 3)


def test_a_path_is_the_mean_of_each_day() -> None:
    """Two listens on the first day, none on the second, one on the third and on the fourth."""
    hours = [1, 2, 49, 73]
    data = dataset_of({"u": [(0, FIRST_DAY * DAY_US + hour * HOUR_US) for hour in hours]}, unit_vectors(2, 3), 0, 1)
    mean = np.float32([[0, 0], [2, 0], [1, 4], [4, 8]])
    found = path(data.listens, States(np.arange(4), mean, 0 * mean, 0 * mean, 0 * mean))
    assert (found.day_T - FIRST_DAY).tolist() == [0, 2, 3]
    assert found.mean_TZ.tolist() == [[1, 0], [1, 4], [4, 8]]
    assert found.steps.tolist() == [4, 5]
    assert found.net == pytest.approx(73**0.5)


def test_pairs_are_of_two_users() -> None:
    user = np.array([0, 0, 0, 1, 2])
    a, b = random_pairs(user, 200, seed=1)
    assert len(a) == len(b) > 50 and (user[a] != user[b]).all()
