"""Settings of a model's evaluation, promotion and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fsvae.evaluation.metric_names import RANKING_METRICS
from fsvae.limits import OneOf


@dataclass
class EvaluateConfig:
    """Settings of the evaluation."""

    period: Annotated[str, OneOf(("test", "validation"))] = "test"
    """Period whose listens are the targets: validation or test."""
    live: bool = False
    """Whether each model with a memory is evaluated once more, as "<model>, live": with everybody's part of the memory
    brought up to date at each midnight (UTC) of the period, at most 32 of them, without training again. Otherwise it is
    only evaluated with what everybody had heard when it had learned.
    """


@dataclass
class PromoteConfig:
    """When a challenger wins."""

    metric: Annotated[str, OneOf(RANKING_METRICS)] = "ndcg@10"
    """Ranking metric of the comparison; distances are not comparable, as each model has its own track space."""


@dataclass
class TrackingConfig:
    """Settings of the store of runs and models."""

    uri: str = ""
    """Address of the MLflow tracking server; empty: SQLite in the working folder."""
    experiment: str = "fsvae"
    """Name of the MLflow experiment."""
    model: str = "fsvae"
    """Name of the registered model."""
