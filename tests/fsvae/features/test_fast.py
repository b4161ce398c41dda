"""Fast features, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES, listen_features, request_features
from fsvae.features.sessions import NEVER

SECOND = 1_000_000
MONDAY = 20_458 * 86_400 * SECOND
"""2026-01-05 00:00 UTC."""


def request(at: int, previous: int) -> dict[str, float]:
    row = request_features(np.array([at]), np.array([previous]))
    assert row.dtype == np.float32
    return dict(zip(REQUEST_FEATURES, row[0].tolist(), strict=True))


def test_the_gap_is_logarithmic_and_28_days_are_1() -> None:
    whole = math.log1p(28 * 86_400)
    at = MONDAY + 12345 * SECOND
    assert request(at, at)["log_gap"] == 0
    assert request(at, at - 99 * SECOND)["log_gap"] == pytest.approx(math.log(100) / whole, rel=1e-6)
    assert request(at, at - SECOND // 2)["log_gap"] == pytest.approx(math.log(1.5) / whole, rel=1e-6)
    assert request(at, at - 28 * 86_400 * SECOND)["log_gap"] == 1
    assert request(at, at - 99 * 86_400 * SECOND)["log_gap"] == 1
    assert request(at, NEVER)["log_gap"] == 1
    assert request(at, at + 5)["log_gap"] == 0  # a request may carry a clock that is behind


def test_microseconds_are_not_lost_to_float32() -> None:
    late = MONDAY + 86_399 * SECOND
    assert request(late + 2 * SECOND, late)["log_gap"] == pytest.approx(math.log(3) / math.log1p(28 * 86_400), rel=1e-6)


def test_a_session_is_new_after_more_than_half_an_hour_and_at_first() -> None:
    at = MONDAY
    gaps = [0, 1799, 1800, 1801]
    assert [request(at, at - gap * SECOND)["new_session"] for gap in gaps] == [0, 0, 0, 1]
    assert request(at, NEVER)["new_session"] == 1


@pytest.mark.parametrize(
    ("hour", "sine", "cosine"), [(0, 0, 1), (6, 1, 0), (12, 0, -1), (18, -1, 0), (3, math.sqrt(0.5), math.sqrt(0.5))]
)
def test_the_hour_is_an_angle_on_the_clock(hour: int, sine: float, cosine: float) -> None:
    found = request(MONDAY + hour * 3_600 * SECOND, NEVER)
    assert (found["hour_sin"], found["hour_cos"]) == pytest.approx((sine, cosine), abs=1e-6)


@pytest.mark.parametrize("day", range(7))
def test_the_weekday_is_an_angle_from_monday(day: int) -> None:
    for second in (0, 86_399):
        found = request(MONDAY + (day * 86_400 + second) * SECOND, NEVER)
        angle = 2 * math.pi * day / 7
        assert (found["weekday_sin"], found["weekday_cos"]) == pytest.approx(
            (math.sin(angle), math.cos(angle)), abs=1e-6
        )


def test_listen_features_are_those_of_the_request_and_what_was_heard() -> None:
    at, previous = np.array([[MONDAY, MONDAY + 10 * SECOND]]), np.array([[NEVER, MONDAY]])
    found = listen_features(at, previous, np.array([[0.25, 1.0]], dtype=np.float32))
    assert found.shape == (1, 2, len(LISTEN_FEATURES)) and found.dtype == np.float32
    assert np.array_equal(found[..., :-1], request_features(at, previous))
    assert found[..., -1].tolist() == [[0.25, 1.0]]
    assert (*REQUEST_FEATURES, "played_fraction") == LISTEN_FEATURES
