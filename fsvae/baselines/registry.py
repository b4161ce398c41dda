"""The models of the comparison by their names in configurations. A new model needs its file and one line here.

Models are imported on first use, so that settings are known without torch.
"""

from __future__ import annotations

from dataclasses import field, make_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from fsvae.baselines.settings import (
    AggregateSequenceConfig,
    GRU4RecConfig,
    ItemKNNConfig,
    JODIEConfig,
    LatentCrossConfig,
    MarkovConfig,
    MultVAEConfig,
    NoSettings,
    RecentPopularityConfig,
    SASRecConfig,
    VSKNNConfig,
)
from fsvae.models.model_config import ModelConfig


class Entry(NamedTuple):
    """A registered model."""

    path: str
    """Module and class, ``fsvae.baselines.markov:Markov``."""
    settings: type = NoSettings
    """Dataclass of its settings."""
    neural: bool = False
    """Whether it is a network that the trainer trains, so that its result depends on the seed."""

    def load(self) -> Any:
        """Return the class."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)


MODELS = {
    "fsvae": Entry("fsvae.models.fsvae:FSVAENetwork", ModelConfig, neural=True),
    "popularity": Entry("fsvae.baselines.popularity:Popularity"),
    "recent_popularity": Entry("fsvae.baselines.popularity:RecentPopularity", RecentPopularityConfig),
    "average": Entry("fsvae.baselines.mean_vector:Average"),
    "aggregate_sequence": Entry("fsvae.baselines.mean_vector:AggregateSequence", AggregateSequenceConfig),
    "last_track": Entry("fsvae.baselines.mean_vector:LastTrack"),
    "markov_global": Entry("fsvae.baselines.markov:MarkovGlobal"),
    "markov": Entry("fsvae.baselines.markov:MarkovBlended", MarkovConfig),
    "item_knn": Entry("fsvae.baselines.item_knn:ItemKNN", ItemKNNConfig),
    "vsknn": Entry("fsvae.baselines.vsknn:VSKNN", VSKNNConfig),
    "latent_cross": Entry("fsvae.baselines.latent_cross:LatentCrossNetwork", LatentCrossConfig, neural=True),
    "jodie": Entry("fsvae.baselines.jodie:JODIENetwork", JODIEConfig, neural=True),
    "mult_vae": Entry("fsvae.baselines.mult_vae:MultVAENetwork", MultVAEConfig, neural=True),
    "gru4rec": Entry("fsvae.baselines.gru4rec:GRU4RecNetwork", GRU4RecConfig, neural=True),
    "sasrec": Entry("fsvae.baselines.sasrec:SASRecNetwork", SASRecConfig, neural=True),
}

if TYPE_CHECKING:  # the fields are known at run time only
    BaselinesConfig = Any
else:
    BaselinesConfig = make_dataclass(
        "BaselinesConfig",
        [
            (name, entry.settings, field(default_factory=entry.settings))
            for name, entry in MODELS.items()
            if name != "fsvae" and entry.settings is not NoSettings
        ],
        namespace={
            "__doc__": "Settings of the baselines, for variants of a matrix that are one (recommender=sasrec).",
            "__module__": __name__,  # where other processes find the class
        },
    )
