"""The one way models are evaluated: every listen of a period is a target, ranked over the full catalogue.

Weights are frozen after training; a user's own earlier listens are visible. Distances are means over targets in the
catalogue (the others have no vector); ranking metrics come twice, over those and over all targets with the others as
misses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import PreparedDataset
from fsvae.evaluation.metrics import (
    CUTOFFS,
    MISS,
    cosine_distance,
    l2_distance,
    ndcg,
    pessimistic_ranks,
    recall,
    reciprocal_rank,
)
from fsvae.recommender import Recommender

_SCORES_AT_ONCE = 1 << 25  # 128 MiB of float32 scores


@dataclass(frozen=True)
class Outcome:
    """What one model made of the targets of a period."""

    model: str
    targets: NDArray[np.int64]
    """[N] flat positions, ascending."""
    ranks: NDArray[np.int64]
    """[N] rank over the model's catalogue, or MISS."""
    l2: NDArray[np.float64]
    """[N] NaN where the target is outside the catalogue."""
    cosine: NDArray[np.float64]
    """[N] likewise."""

    def ranking(self, name: str) -> NDArray[np.float64]:
        """Return a ranking metric of each target, by the name it has in `metrics`."""
        if name == "mrr":
            return reciprocal_rank(self.ranks)
        kind, k = name.split("@")
        return {"recall": recall, "ndcg": ndcg}[kind](self.ranks, int(k))

    def metrics(self) -> dict[str, float]:
        """Return the means: ``name`` over targets in the catalogue, ``name_all`` over all targets."""
        inside = self.ranks != MISS
        means = {"l2": _mean(self.l2[inside]), "cosine": _mean(self.cosine[inside])}
        for name in RANKING_METRICS:
            values = self.ranking(name)
            means[name], means[f"{name}_all"] = _mean(values[inside]), _mean(values)
        return means


RANKING_METRICS = (*(f"recall@{k}" for k in CUTOFFS), "ndcg@10", "mrr")


def evaluate(
    model: Recommender, dataset: PreparedDataset, period: str, not_before_us: int = np.iinfo(np.int64).min
) -> Outcome:
    """Evaluate a model that is fitted on every listen of a period, or on those of them from a time on.

    A model that comes from another dataset is evaluated on `dataset.in_space_of` its own track space: the positions
    are the same, and a target that its catalogue lacks is a miss.
    """
    begin, end = dataset.period(period)
    begin = max(begin, not_before_us)
    targets = dataset.targets(period)
    targets = targets[dataset.listens.played_at[targets] >= begin]
    vectors, track = dataset.vectors[: dataset.n_catalogue], dataset.listens.track
    ranks = np.full(len(targets), MISS, dtype=np.int64)
    l2, cosine = np.full(len(targets), np.nan), np.full(len(targets), np.nan)
    seen = np.zeros(len(targets), dtype=np.bool_)
    block = max(1, _SCORES_AT_ONCE // max(len(vectors), 1))
    for predictions in model.predict(dataset, begin, end):
        for i in range(0, len(predictions.targets), block):
            part = predictions.targets[i : i + block]
            row = np.searchsorted(targets, part)
            seen[row] = True
            actual = track[part].astype(np.int64)
            inside = actual < len(vectors)
            row, actual, predicted = row[inside], actual[inside], predictions.vectors[i : i + block][inside]
            if len(row) == 0:
                continue
            l2[row] = l2_distance(predicted, vectors[actual])
            cosine[row] = cosine_distance(predicted, vectors[actual])
            scores = predictions.scores
            if scores is None:  # unit vectors: nearest by L2, by cosine and by dot product are the same
                queries = predicted if predictions.queries is None else predictions.queries[i : i + block][inside]
                scores = queries @ vectors.T
            elif len(scores) > 1:
                scores = scores[i : i + block][inside]
            ranks[row] = pessimistic_ranks(scores, actual)
    assert seen.all(), f"{model.name} left targets without a prediction"
    return Outcome(model.name, targets, ranks, l2, cosine)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
