"""Active dimensions, and the KL to the prior that the model has."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.evaluation.latent_use import LatentUse, latent_use
from fsvae.latent.states import States, encode


def test_a_dimension_is_active_when_its_mean_varies_between_states() -> None:
    """Variances of the means: 1, 0 and .0081 (just too little); the KL is a mean over the two states."""
    mean = np.float32([[1, 5, 0.09], [-1, 5, -0.09]])
    kl = np.float32([[1, 3, 0.5], [2, 3, 0.7]])
    use = States(np.arange(2), mean, np.zeros_like(mean), kl, kl).use
    np.testing.assert_allclose(use.variance_Z, [1, 0, 0.0081], rtol=1e-5)
    assert use.kl_Z == pytest.approx([1.5, 3, 0.6])
    assert use.kinds.tolist() == ["active", "not used yet", "not used yet"] and use.count("active") == 1
    assert use.by_kl.tolist() == [1, 0, 2]


def test_a_dimension_has_collapsed_when_its_mean_stays_and_its_posterior_is_about_the_prior() -> None:
    """Active, whatever its KL; collapsed; and a mean that stays, with a variance of e^-5: (e^-5 + 4) / 2 nats."""
    initial = (np.exp(-5) - 1 + 5) / 2
    assert initial == pytest.approx(2.003, abs=1e-3)
    use = LatentUse(np.array([0.01, 0.09, initial, 0.0, 0.11]), np.array([0.02, 0.01, 0.0, 0.0, 0.0]), np.ones(5))
    assert use.kinds.tolist() == ["active", "collapsed", "not used yet", "collapsed", "not used yet"]


def test_a_narrow_posterior_tells_users_apart_by_less() -> None:
    """A mean that varies by .005: more than a posterior's variance of .001, less than one of .006."""
    use = LatentUse(np.array([3.0, 2.0, 0.0]), np.array([0.005, 0.005, 0.005]), np.array([0.001, 0.006, 0.0]))
    assert use.kinds.tolist() == ["active", "not used yet", "collapsed"]


def test_without_kl_the_dimensions_are_in_order_of_variance() -> None:
    assert LatentUse(np.zeros(3), np.array([1.0, 25.0, 0.0]), np.zeros(3)).by_kl.tolist() == [1, 0, 2]


@pytest.mark.parametrize("prior", ["standard", "slow"])
def test_the_use_of_a_period_is_that_of_its_states(prior: str) -> None:
    data = dataset_of(random_histories([5, 20, 31], 8, seed=7), unit_vectors(8, 4), 0, validation_until=1)
    model = random_model(data, small_config(prior=prior))
    found, states = latent_use(model, data, "test"), encode(model, data, np.arange(len(data.listens)))
    np.testing.assert_allclose(found.kl_Z, states.use.kl_Z, rtol=1e-4)
    np.testing.assert_allclose(found.variance_Z, states.use.variance_Z, rtol=1e-3)
    np.testing.assert_allclose(found.noise_Z, states.use.noise_Z, rtol=1e-4)
    assert (found.noise_Z > 0).all()
