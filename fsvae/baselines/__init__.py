"""The models that FS-VAE is compared with, behind the same protocol; `BASELINES` has those without a neural network."""

from __future__ import annotations

from fsvae.baselines.baseline import Baseline, NoSettings
from fsvae.baselines.item_knn import ItemKNN, ItemKNNConfig
from fsvae.baselines.markov import Markov, MarkovConfig, MarkovGlobal
from fsvae.baselines.mean_vector import AggregateSequence, AggregateSequenceConfig, Average, LastTrack
from fsvae.baselines.popularity import Popularity, RecentPopularity, RecentPopularityConfig
from fsvae.baselines.vsknn import VSKNN, VSKNNConfig

BASELINES: dict[str, type[Baseline]] = {
    "popularity": Popularity,
    "recent_popularity": RecentPopularity,
    "average": Average,
    "aggregate_sequence": AggregateSequence,
    "last_track": LastTrack,
    "markov_global": MarkovGlobal,
    "markov": Markov,
    "item_knn": ItemKNN,
    "vsknn": VSKNN,
}
"""The name in a config → the class; `config_type` is the dataclass that its constructor takes."""

__all__ = [
    "BASELINES",
    "VSKNN",
    "AggregateSequence",
    "AggregateSequenceConfig",
    "Average",
    "Baseline",
    "ItemKNN",
    "ItemKNNConfig",
    "LastTrack",
    "Markov",
    "MarkovConfig",
    "MarkovGlobal",
    "NoSettings",
    "Popularity",
    "RecentPopularity",
    "RecentPopularityConfig",
    "VSKNNConfig",
]
