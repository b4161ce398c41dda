"""The largest values of rows, as sorting the whole row gives them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fsvae.memory.largest import largest


def rows(kind: str, length: int) -> NDArray[np.float32]:
    random = np.random.default_rng(length)
    if kind == "skewed":
        return (random.random((5, length)) ** 40).astype(np.float32)
    if kind == "mostly zero":
        values = np.zeros((5, length), dtype=np.float32)
        values[:, random.integers(0, length, 7)] = random.random(7)
        return values
    if kind == "few values":
        return random.integers(0, 3, (5, length)).astype(np.float32)
    if kind == "ascending":
        return np.tile(np.arange(length, dtype=np.float32), (5, 1))
    values = np.zeros((5, length), dtype=np.float32)  # all that is large is where no sample looks
    values[:, 1::50] = 1 + np.arange(len(values[0, 1::50]))
    return values


@pytest.mark.parametrize("kind", ["skewed", "mostly zero", "few values", "ascending", "out of sight"])
@pytest.mark.parametrize("length", [1, 9, 100, 20_000, 100_003])
def test_the_largest_are_those_of_a_stable_sort(kind: str, length: int) -> None:
    values = rows(kind, length)
    found, place = largest(torch.from_numpy(values), 100)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :100]
    np.testing.assert_array_equal(place.numpy(), expected)
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(values, expected, axis=1))
