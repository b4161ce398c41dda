"""The paper's three averages, behind the same protocol as FS-VAE."""

from __future__ import annotations

from fsvae.baselines.means import AggregateSequence, Average
from fsvae.baselines.popularity import Popularity

__all__ = ["AggregateSequence", "Average", "Popularity"]
