"""Promote: the challenger becomes the champion only if it is better on the same positions."""

from __future__ import annotations

from dataclasses import dataclass

from fsvae.bundle import load_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.metric_names import COLUMNS
from pipelines.config.lifecycle_config import PromoteConfig
from pipelines.lifecycle.evaluate import evaluate_bundle
from pipelines.runtime.watch import Summary
from pipelines.tracking import Tracker


@dataclass(frozen=True)
class Verdict(Summary):
    """The outcome of a comparison of challenger and champion."""

    challenger: int
    champion: int
    """Version of the previous champion."""
    challenger_value: float
    champion_value: float
    promoted: bool
    metric: str
    verb = "promote"

    def lines(self) -> list[str]:
        """Return which version is the champion, and why."""
        if self.challenger == self.champion:
            is_champion = ", the first model, is the champion" if self.champion == 1 else " is the champion already"
            return [f"version {self.champion}{is_champion}"]
        return [
            f"{COLUMNS[self.metric]}: challenger version {self.challenger} {self.challenger_value:.4f}, "
            f"champion version {self.champion} {self.champion_value:.4f} → "
            + ("the challenger is the new champion" if self.promoted else "the champion stays")
        ]


def promote(tracker: Tracker, challenger: int, dataset: Dataset, config: PromoteConfig) -> Verdict:
    """Compare a version with the champion over all targets of the test period, and promote it if it is better.

    Only listens after all those that either has learned from count. Both rank all tracks heard before, so that a model
    with fewer tracks has no advantage, and everybody's part of their memories is of the same time.

    Raises:
        UserError: no listen is new to both models.
    """
    champion = tracker.resolve(None)
    if challenger == champion:
        return Verdict(challenger, champion, float("nan"), float("nan"), promoted=False, metric=config.metric)
    bundles = {version: load_bundle(tracker.bundle(version)) for version in (challenger, champion)}
    unseen = max(bundle.learned_until("test") for bundle in bundles.values())
    if any(bundle.validation_learned for bundle in bundles.values()):
        dataset = dataset.with_validation_learned()
    if dataset.listens.played_at.max() < unseen:
        raise UserError(
            f"One of versions {challenger} and {champion} has learned from all listens of this dataset: there is "
            "nothing to compare them on. Ingest later listens, and prepare again."
        )
    values = {
        version: float(evaluate_bundle(bundle, dataset, "test", unseen).values(config.metric).mean())
        for version, bundle in bundles.items()
    }
    promoted = values[challenger] > values[champion]
    if promoted:
        tracker.make_champion(challenger)
    return Verdict(challenger, champion, values[challenger], values[champion], promoted, config.metric)
