"""Settings of a tuning, as in configs/tune/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from fsvae.evaluation.metric_names import RANKING_METRICS
from fsvae.limits import Count, OneOf, Size


@dataclass
class Span:
    """The values that a setting is searched within: all from low to high, or a few choices."""

    low: float | None = None
    """Least value."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """Search by factors instead of steps; low is then above 0."""
    choices: list[Any] = field(default_factory=list)
    """Values to choose from, instead of low and high."""


@dataclass
class TuneConfig:
    """A search for a model's best settings on the validation period (fsvae tune tune=fsvae)."""

    title: str = ""
    """Title of its record."""
    base: list[str] = field(default_factory=list)
    """Settings of all trials; those of the command line come after them."""
    space: dict[str, Span] = field(default_factory=dict)
    """Setting → its span: low and high, with log or without, or choices."""
    workdirs: list[str] = field(default_factory=list)
    """Working folders whose current datasets are tuned on together; empty: the one of workdir."""
    trials: Count = 30
    """Number of trials in all, the present settings being the first; repeating the command goes on up to it."""
    at_once: Size = 1
    """Trials that are chosen together and run side by side; each is chosen without the results of the others."""
    metric: Annotated[str, OneOf(RANKING_METRICS)] = "ndcg@10"
    """Ranking metric over all targets of the validation period, whose mean ratio to the first trial's is maximised."""
