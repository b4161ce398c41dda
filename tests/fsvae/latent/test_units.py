"""Active units and posterior collapse."""

from __future__ import annotations

import numpy as np
import pytest

from fsvae.latent.states import States
from fsvae.latent.units import Units


def test_a_unit_is_active_when_its_mean_varies_between_states() -> None:
    """Variances of the means: 1, 0 and .0081 (just too little); the KL is a mean over the two states."""
    mean = np.float32([[1, 5, 0.09], [-1, 5, -0.09]])
    kl = np.float32([[1, 3, 0.5], [2, 3, 0.7]])
    units = Units.of(States(np.arange(2), mean, np.zeros_like(mean), kl))
    np.testing.assert_allclose(units.variance_Z, [1, 0, 0.0081], rtol=1e-5)
    assert units.kl_Z == pytest.approx([1.5, 3, 0.6])
    assert units.active_Z.tolist() == [True, False, False]
    assert units.collapsed == 2
    assert units.by_kl.tolist() == [1, 0, 2]


def test_without_kl_the_units_are_in_order_of_variance() -> None:
    mean = np.float32([[1, 5, 0], [-1, -5, 0]])
    units = Units.of(States(np.arange(2), mean, 0 * mean, 0 * mean))
    assert units.by_kl.tolist() == [1, 0, 2]
