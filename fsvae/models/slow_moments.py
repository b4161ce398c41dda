"""Mean and standard deviation of the slow features, by which networks normalise them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fsvae.data.dataset import Dataset

_NORMALISED_BY = 100_000
"""Largest number of snapshots, drawn at random, over which the mean and the deviation are taken."""


def slow_moments(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of the training period's snapshots, [slow features] each.

    Unknown users do not count; a constant feature has the deviation 1.
    """
    rows = np.unique(dataset.slow_row[dataset.listens.played_at < dataset.period("train")[1]])
    if len(rows) > _NORMALISED_BY:
        rows = np.sort(np.random.default_rng(0).choice(rows, _NORMALISED_BY, replace=False))
    slow = torch.from_numpy(dataset.snapshots.features(rows))
    slow = slow[slow[:, 0] > 0] if bool((slow[:, 0] > 0).any()) else slow
    std = slow.std(dim=0, unbiased=False)
    std[std < 1e-6] = 1.0
    return slow.mean(dim=0), std
