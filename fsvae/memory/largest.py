"""The largest values of long rows.

Legend: N rows, T values of each, K largest.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

_SAMPLE = 4096
"""Number of values of a row from which it is guessed how large the largest are, about."""


def largest(values_NT: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of each row and their places, largest first, [N, K] each; equal ones by place.

    The same as `torch.topk`, which takes several times as long for rows of 100,000 and orders equal values at random.

    Args:
        values_NT: values from 0 on, in the main memory.
        most: number of values, K; all if there are fewer.
    """
    n, k = len(values_NT), min(most, values_NT.shape[1])
    found, place = np.zeros((n, k), dtype=np.float32), np.zeros((n, k), dtype=np.int64)
    _largest(np.ascontiguousarray(values_NT.numpy()), found, place)
    return torch.from_numpy(found), torch.from_numpy(place)


@njit(cache=True, nogil=True)
def _largest(values: NDArray[np.float32], found: NDArray[np.float32], place: NDArray[np.int64]) -> None:
    """Write the largest values of each row and their places."""
    rows, length = values.shape
    k = found.shape[1]
    step = max(1, length // _SAMPLE)
    some = np.empty(length, np.int64)
    for r in range(rows):
        row = values[r]
        sample = row[::step]
        rank = min(len(sample), 2 * k // step + 8)
        least = np.partition(sample, len(sample) - rank)[len(sample) - rank]
        n = 0
        for t in range(length):
            if row[t] > least:
                some[n] = t
                n += 1
        if (
            n < k
        ):  # those that equal the least of the guess, in their order; in an unlucky sample, all that are below it
            for t in range(length):
                if n < k and row[t] == least:
                    some[n] = t
                    n += 1
        if n < k:
            for t in range(length):
                some[t] = t
            n = length
        order = np.argsort(-row[some[:n]], kind="mergesort")
        for i in range(k):
            place[r, i] = some[order[i]]
            found[r, i] = row[place[r, i]]
