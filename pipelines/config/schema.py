"""All settings: one dataclass, whose groups are defined beside the code they configure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fsvae.baselines.registry import MODELS, BaselinesConfig
from fsvae.limits import Distinct, OneOf, Seed
from fsvae.logs.source_config import SourceConfig
from fsvae.models.model_config import ModelConfig
from fsvae.models.train_config import TrainConfig
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.config.ablation_config import AblationConfig
from pipelines.config.lifecycle_config import EvaluateConfig, PromoteConfig, TrackingConfig
from pipelines.config.tune_config import TuneConfig
from pipelines.runtime.engine_config import EngineConfig
from pipelines.simulation.simulate_config import SimulateConfig
from serving.serve_config import ServeConfig


@dataclass
class Config:
    """All settings, by group."""

    workdir: str = "work"
    """Folder of the lake, the datasets, the runs and MLflow's store."""
    lake: str = ""
    """Folder of the lake, local or of an object store (s3://bucket/lake); empty: lake/ in the working folder."""
    datasets: str = ""
    """Folder of the prepared datasets, local or of an object store; empty: datasets/ in the working folder."""
    seed: Seed = 1
    """Seed of everything that is random, but the simulated log, which has its own."""
    seeds: Annotated[list[Seed], Distinct()] = field(default_factory=lambda: [1, 2, 3])
    """Seeds of the trainings of each variant of a matrix (fsvae ablate); its datasets have the one above."""
    recommender: Annotated[str, OneOf(tuple(MODELS))] = "fsvae"
    """Model of a variant of a matrix or of a tuning: fsvae, as model says, or one of the baselines."""
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    promote: PromoteConfig = field(default_factory=PromoteConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
