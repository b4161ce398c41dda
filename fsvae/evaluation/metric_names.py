"""The ranking metrics, and the headings of all metrics. A new one is a function of ranks and one line here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RankingMetric:
    """A metric of the rank of each target."""

    heading: str
    function: str
    """Name of the function in `fsvae.evaluation.metrics`, imported when it is called: settings name metrics."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of the function after the ranks."""

    def of_ranks(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the metric of each rank [N], from 1 or `metrics.MISS`; more is better, 0 for a miss."""
        from fsvae.evaluation import metrics

        values: NDArray[np.float64] = getattr(metrics, self.function)(ranks, **self.settings)
        return values


CUTOFFS = (1, 10, 20, 100)
"""Lengths of the lists in which a target is looked for."""
RANKING = {
    **{f"recall@{k}": RankingMetric(f"R@{k}", "recall", {"k": k}) for k in CUTOFFS},
    "ndcg@10": RankingMetric("NDCG@10", "ndcg", {"k": 10}),
    "mrr": RankingMetric("MRR", "reciprocal_rank"),
}
RANKING_METRICS = tuple(RANKING)
IN_CATALOGUE = "_catalogue"
"""Ending of the name of a ranking metric over the targets in the trained catalogue alone."""
COLUMNS = {
    "l2": "L2 ↓",
    "cosine": "cosine ↓",
    **{name: metric.heading for name, metric in RANKING.items()},
    **{f"{name}{IN_CATALOGUE}": f"{RANKING[name].heading} (catalogue)" for name in ("recall@10", "ndcg@10", "mrr")},
}
"""Metric → heading; an arrow down marks metrics that are better when lower."""
