"""The settings of the baselines, a group of the configuration for each that has any."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsvae.baselines import (
    AggregateSequenceConfig,
    ItemKNNConfig,
    MarkovConfig,
    RecentPopularityConfig,
    VSKNNConfig,
)
from fsvae.baselines.gru4rec import GRU4RecConfig
from fsvae.baselines.jodie import JODIEConfig
from fsvae.baselines.latent_cross import LatentCrossConfig
from fsvae.baselines.mult_vae import MultVAEConfig
from fsvae.baselines.sasrec import SASRecConfig


@dataclass
class BaselinesConfig:
    """What the baselines are made of, where a variant of a matrix is one of them (recommender=sasrec)."""

    recent_popularity: RecentPopularityConfig = field(default_factory=RecentPopularityConfig)
    aggregate_sequence: AggregateSequenceConfig = field(default_factory=AggregateSequenceConfig)
    markov: MarkovConfig = field(default_factory=MarkovConfig)
    item_knn: ItemKNNConfig = field(default_factory=ItemKNNConfig)
    vsknn: VSKNNConfig = field(default_factory=VSKNNConfig)
    latent_cross: LatentCrossConfig = field(default_factory=LatentCrossConfig)
    jodie: JODIEConfig = field(default_factory=JODIEConfig)
    mult_vae: MultVAEConfig = field(default_factory=MultVAEConfig)
    gru4rec: GRU4RecConfig = field(default_factory=GRU4RecConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
