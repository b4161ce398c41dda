"""The models that FS-VAE is compared with, behind the same protocol; `BASELINES` has those without a neural network."""

from __future__ import annotations

from fsvae.baselines.base import Baseline, NoSettings
from fsvae.baselines.means import AggregateSequence, AggregateSequenceConfig, Average, LastTrack
from fsvae.baselines.popularity import Popularity, RecentPopularity, RecentPopularityConfig

BASELINES: dict[str, type[Baseline]] = {
    "popularity": Popularity,
    "recent_popularity": RecentPopularity,
    "average": Average,
    "aggregate_sequence": AggregateSequence,
    "last_track": LastTrack,
}
"""The name in a config → the class; `config_type` is the dataclass that its constructor takes."""

__all__ = [
    "BASELINES",
    "AggregateSequence",
    "AggregateSequenceConfig",
    "Average",
    "Baseline",
    "LastTrack",
    "NoSettings",
    "Popularity",
    "RecentPopularity",
    "RecentPopularityConfig",
]
