"""Random draws, many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


def draw_between(rng: np.random.Generator, cumulative: Floats, first: Ints, last: Ints) -> Ints:
    """Draw one index from each slice `first:last`, in proportion to the weights summed in `cumulative`."""
    low, high = cumulative[first], cumulative[last]
    # Rounding may land on `high` itself, which belongs to the next slice: stay strictly below it.
    point = np.minimum(low + rng.random(len(first)) * (high - low), np.nextafter(high, low))
    return np.asarray(np.searchsorted(cumulative, point, side="right") - 1)


def draw_columns(rng: np.random.Generator, weights: Floats) -> Ints:
    """Draw one column for each row of non-negative `weights`."""
    cumulative = np.cumsum(weights, axis=1)
    point = rng.random((len(weights), 1)) * cumulative[:, -1:]
    return np.asarray(np.minimum((point >= cumulative).sum(axis=1), weights.shape[1] - 1))


def draw_places(rng: np.random.Generator, count: int, places: int) -> Ints:
    """Draw places on lists that begin with the dearest; the first places are drawn most often."""
    root = np.sqrt(rng.random(count, np.float32))
    # A uniform number to the power of 1.75, by roots, which are faster than a power.
    share = root * root * root * np.sqrt(root)
    return np.minimum((places * share).astype(np.int64), places - 1)


def zipf_weights(count: int, exponent: float) -> Floats:
    """Return the shares of ranks 1 to `count`, in proportion to rank to the power of -exponent."""
    weight = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return np.asarray(weight / weight.sum())
