"""Probabilities against what was computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fsvae.evaluation.probabilities import calibration_error, nats, reliability


def test_nats_are_of_p_with_a_thousandth_of_even_odds() -> None:
    found = nats(np.array([0.5, 0.0, 1.0]), np.array([10, 1000, 1]))
    np.testing.assert_allclose(found, [-math.log(0.4996), -math.log(1e-6), 0.0], atol=1e-12)


def test_groups_are_of_equal_size_by_ascending_probability() -> None:
    p = np.repeat(np.arange(10) / 10, 2)[::-1]
    came = p >= 0.45
    np.testing.assert_allclose(reliability(p, came), [np.arange(10) / 10, [0.0] * 5 + [1.0] * 5, [2.0] * 10])
    assert calibration_error(p, came) == pytest.approx((0 + 0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 0.4 + 0.3 + 0.2 + 0.1) / 10)


def test_few_targets_have_a_group_each_and_none_has_no_error() -> None:
    assert reliability(np.array([0.75, 0.5]), np.array([True, False])).tolist() == [[0.5, 0.75], [0, 1], [1, 1]]
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, dtype=np.bool_)))


def test_equal_probabilities_are_never_told_apart() -> None:
    """A constant p of .5 that is right half of the time, however its targets are sorted, has no error."""
    came = np.arange(100) < 50
    assert reliability(np.full(100, 0.5), came).tolist() == [[0.5], [0.5], [100]]
    assert calibration_error(np.full(100, 0.5), came) == 0
    found = reliability(np.array([0.1] * 15 + [0.2] * 5), np.arange(20) % 5 == 0)
    np.testing.assert_allclose(found, [[0.1, 0.2], [0.2, 0.2], [15, 5]])
