"""Mean and deviation of the slow features, which networks normalise them by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fsvae.data.dataset import Dataset

_NORMALISED_BY = 100_000
"""Slow features are normalised by the mean and deviation of at most so many snapshots, drawn by chance."""


def slow_moments(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of the training period's snapshots, [slow features] each.

    Users that nothing is known of do not count; a feature that is the same for all has the deviation 1.
    """
    rows = np.unique(dataset.slow_row[dataset.listens.played_at < dataset.period("train")[1]])
    if len(rows) > _NORMALISED_BY:
        rows = np.sort(np.random.default_rng(0).choice(rows, _NORMALISED_BY, replace=False))
    slow = torch.from_numpy(dataset.snapshots.features(rows))
    slow = slow[slow[:, 0] > 0] if bool((slow[:, 0] > 0).any()) else slow
    std = slow.std(dim=0, unbiased=False)
    std[std < 1e-6] = 1.0
    return slow.mean(dim=0), std
