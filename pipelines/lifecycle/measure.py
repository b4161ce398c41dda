"""Measure: how well the champion predicted a day that it has not learned from; the honest figure of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from fsvae.bundle import load_bundle
from fsvae.data.dataset import Dataset
from fsvae.evaluation.metric_names import COLUMNS
from fsvae.features.clock import DAY_US
from pipelines.lifecycle.evaluate import evaluate_bundle
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary
from pipelines.tracking import Tracker

_PREFIX = "day"
"""Prefix of the figures in MLflow, whose step is the day, in days since 1970."""
_TOLD = ("ndcg@10", "recall@10", "mrr", "l2")


@dataclass(frozen=True)
class Measured(Summary):
    """The champion's figures of a day."""

    version: int
    day: date
    metrics: dict[str, float]
    """Figures over all targets of the day; none where it could not be measured."""
    targets: int
    why_not: str = ""
    """Why it could not be measured."""
    verb = "measure"

    def lines(self) -> list[str]:
        """Return the main figures."""
        if self.why_not:
            return [f"version {self.version} was not measured on {self.day}: {self.why_not}"]
        figures = ", ".join(f"{COLUMNS[name]} {self.metrics[name]:.3f}" for name in _TOLD)
        return [f"version {self.version} on {count(self.targets, 'listen')} of {self.day}, not learned: {figures}"]


def measure(tracker: Tracker, dataset: Dataset, day: date) -> Measured | None:
    """Evaluate the champion on the listens of a day, and log the figures with its run, once.

    Everybody's part of its memory is as of the end of the model's dataset, as it is served.

    Args:
        tracker: tracker of the versions.
        dataset: dataset whose test period holds the day.
        day: the day (UTC).

    Returns:
        The figures; None where there is no champion yet.
    """
    version = tracker.champion()
    if version is None:
        return None
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    bundle = load_bundle(tracker.bundle(version))
    if bundle.validation_learned:
        dataset = dataset.with_validation_learned()  # novelty is by what the model has learned from
    if bundle.learned_until("test") > begin:
        return Measured(version, day, {}, 0, "it has learned from listens of the day")
    played_at = dataset.listens.played_at[dataset.targets("test")]
    if not ((played_at >= begin) & (played_at < begin + DAY_US)).any():
        return Measured(version, day, {}, 0, "the test period holds no listen of it")
    as_served = [bundle.until] if bundle.model.has_memory and bundle.until > dataset.period("test")[0] else []
    result = evaluate_bundle(bundle, dataset, "test", begin, as_served)
    found = result.at(dataset.listens.played_at[result.targets] < begin + DAY_US)
    metrics = found.metrics()
    named = {f"{_PREFIX}/{name}": one for name, one in metrics.items()}
    tracker.log_once(tracker.run_of(version), named, step=begin // DAY_US)
    return Measured(version, day, metrics, len(found.targets))
