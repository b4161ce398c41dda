"""What is decoded from a state, and the paths of users."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_dataset import FIRST_DAY, HOUR_US, dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US
from fsvae.latent.paths import decode, nearest_track, path
from fsvae.latent.states import States, encode
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.predict import NetworkPredictor


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_of(random_histories([9, 12], 8, seed=2), unit_vectors(8, 4), train_until=0, validation_until=1)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> FSVAENetwork:
    return random_model(dataset, small_config())


def test_what_is_decoded_from_a_state_is_what_the_user_would_be_recommended(
    model: FSVAENetwork, dataset: Dataset
) -> None:
    last = dataset.listens.offsets[1:] - 1
    states = encode(model, dataset, last)
    ends = decode(model, states.mean_NZ)
    queries = {}
    for part in NetworkPredictor(model).predict(dataset, 0, np.iinfo(np.int64).max):
        assert part.queries is not None
        queries |= dict(zip(part.targets.tolist(), part.queries, strict=True))
    for end, target in zip(ends, last.tolist(), strict=True):
        np.testing.assert_allclose(end, queries[target] / np.linalg.norm(queries[target]), atol=1e-5)
        assert nearest_track(model, end) == (dataset.vectors @ queries[target]).argmax()


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
