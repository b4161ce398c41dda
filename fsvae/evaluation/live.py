"""Live evaluation: the times at which everybody's part of the memory is brought up to date, without retraining."""

from __future__ import annotations

import numpy as np

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US

MOST_REFRESHES = 32
"""Largest number of times; each of them holds counts of its own."""


def midnights(dataset: Dataset, period: str) -> list[int]:
    """Return the midnights (UTC) [us] in a period up to its last listen, or MOST_REFRESHES evenly spaced ones."""
    begin, end = dataset.period(period)
    end = min(end, int(dataset.listens.played_at.max()) + 1)
    days = np.arange(-(-begin // DAY_US), -(-end // DAY_US))
    if len(days) > MOST_REFRESHES:
        days = days[np.linspace(0, len(days) - 1, MOST_REFRESHES).round().astype(np.int64)]
    return [int(day) * DAY_US for day in days]
