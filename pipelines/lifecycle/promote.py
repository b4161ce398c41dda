"""Promote: the challenger becomes the champion unless it is worse for sure on the same positions.

Of two models that cannot be told apart the one that has learned later listens is better to have: it knows what came out
since, which the positions that are new to both hardly show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fsvae.bundle import load_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.metric_names import COLUMNS
from fsvae.evaluation.significance import BootstrapConfig, bootstrap_ratios, user_sums
from fsvae.features.clock import utc_text
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
    interval: tuple[float, float]
    """95 % interval of the difference, challenger less champion, over users; NaN where there are too few."""
    promoted: bool
    why: str
    """Reason in words."""
    metric: str
    verb = "promote"

    def lines(self) -> list[str]:
        """Return which version is the champion, and why."""
        if self.challenger == self.champion:
            is_champion = ", the first model, is the champion" if self.champion == 1 else " is the champion already"
            return [f"version {self.champion}{is_champion}"]
        low, high = self.interval
        difference = f"{self.challenger_value - self.champion_value:+.4f}"
        between = "" if np.isnan(low) else f" [{low:+.4f}, {high:+.4f}]"
        return [
            f"{COLUMNS[self.metric]}: challenger version {self.challenger} {self.challenger_value:.4f}, "
            f"champion version {self.champion} {self.champion_value:.4f}, {difference}{between}: {self.why} → "
            + ("the challenger is the new champion" if self.promoted else "the champion stays")
        ]


def promote(
    tracker: Tracker, challenger: int, dataset: Dataset, config: PromoteConfig, even_rolled_back: bool = False
) -> Verdict:
    """Compare a version with the champion over all targets of the test period, and promote it unless it is worse.

    It is promoted if it is better for sure (the paired bootstrap over users), or if neither is and it has learned later
    listens; if neither has, the higher mean decides. Only listens after all those that either has learned from count.
    Both rank all tracks heard before, so that a model with fewer tracks has no advantage, and everybody's part of their
    memories is of the same time.

    Args:
        tracker: tracker of the versions.
        challenger: version that may be promoted.
        dataset: dataset whose test period is predicted.
        config: settings of the comparison.
        even_rolled_back: whether a version that was rolled back may be promoted again.

    Raises:
        UserError: no listen is new to both models.
    """
    champion = tracker.resolve(None)
    if challenger == champion:
        nothing = float("nan")
        return Verdict(challenger, champion, nothing, nothing, (nothing, nothing), False, "the same", config.metric)
    bundles = {version: load_bundle(tracker.bundle(version)) for version in (challenger, champion)}
    unseen = max(bundle.learned_until("test") for bundle in bundles.values())
    if any(bundle.validation_learned for bundle in bundles.values()):
        dataset = dataset.with_validation_learned()
    if dataset.listens.played_at.max() < unseen:
        raise UserError(
            f"One of versions {challenger} and {champion} has learned from all listens of this dataset: there is "
            "nothing to compare them on. Ingest later listens, and prepare again."
        )
    results = {version: evaluate_bundle(bundle, dataset, "test", unseen) for version, bundle in bundles.items()}
    values = {version: result.values(config.metric) for version, result in results.items()}
    users = dataset.listens.user[results[champion].targets]
    difference = values[challenger] - values[champion]
    sums = user_sums(np.stack([difference, np.ones_like(difference)], axis=1), users)
    low, high = bootstrap_ratios(
        sums[:, :1], sums[:, 1:], np.zeros(1, dtype=np.int64), BootstrapConfig(resamples=2_000)
    )
    learned = {version: bundle.learned_until("validation") for version, bundle in bundles.items()}
    interval = float(low[0]), float(high[0])
    promoted, why = _judged(float(difference.mean()), interval, learned[challenger], learned[champion])
    if promoted and not even_rolled_back and tracker.was_rolled_back(challenger):
        promoted, why = False, f"it was rolled back, and is promoted again with fsvae promote --version {challenger}"
    if promoted:
        tracker.make_champion(challenger)
    means = [float(values[version].mean()) for version in (challenger, champion)]
    return Verdict(challenger, champion, means[0], means[1], interval, promoted, why, config.metric)


def _judged(mean: float, interval: tuple[float, float], learned: int, champion_learned: int) -> tuple[bool, str]:
    """Return whether a challenger is promoted, and why.

    Args:
        mean: how much better it is than the champion.
        interval: interval of that; NaN where it is not known.
        learned: time [us] before which it has learned listens.
        champion_learned: the same of the champion.
    """
    low, high = interval
    if low > 0:
        return True, "better for sure"
    if high < 0:
        return False, "worse for sure"
    if learned != champion_learned:
        later, which = learned > champion_learned, "challenger" if learned > champion_learned else "champion"
        until = utc_text(max(learned, champion_learned))
        return later, f"neither is better for sure, and the {which} has learned later listens, until {until}"
    return mean > 0, "neither is better for sure, and the mean decides"
