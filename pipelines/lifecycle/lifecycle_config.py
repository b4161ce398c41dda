"""What can be set of the life of a model: its evaluation, its promotion, its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fsvae.evaluation.metric_names import RANKING_METRICS
from fsvae.limits import OneOf


@dataclass
class EvaluateConfig:
    """What is compared, and on what."""

    period: Annotated[str, OneOf(("test", "validation"))] = "test"
    """Period whose listens are the targets: validation or test."""


@dataclass
class PromoteConfig:
    """When a challenger wins."""

    metric: Annotated[str, OneOf(RANKING_METRICS)] = "ndcg@10"
    """Ranking metric; distances are not comparable, as each model has its own track space."""


@dataclass
class TrackingConfig:
    """Where runs and models are recorded."""

    uri: str = ""
    """MLflow tracking server; empty: SQLite in the working folder."""
    experiment: str = "fsvae"
    """MLflow experiment."""
    model: str = "fsvae"
    """Name of the registered model."""
