"""The ranking metrics, and the headings of all metrics. A new one is a function of ranks and one line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.evaluation.metrics import ndcg, recall, reciprocal_rank


class RankingMetric(NamedTuple):
    """A metric of the rank of each target."""

    heading: str
    of_ranks: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    """Ranks [N], from 1 or `metrics.MISS` → values [N], more is better, 0 for a miss."""


CUTOFFS = (1, 10, 20, 100)
"""Lengths of the lists in which a target is looked for."""
RANKING = {
    **{f"recall@{k}": RankingMetric(f"R@{k}", partial(recall, k=k)) for k in CUTOFFS},
    "ndcg@10": RankingMetric("NDCG@10", partial(ndcg, k=10)),
    "mrr": RankingMetric("MRR", reciprocal_rank),
}
RANKING_METRICS = tuple(RANKING)
COLUMNS = {
    "l2": "L2 ↓",
    "cosine": "cosine ↓",
    **{name: metric.heading for name, metric in RANKING.items()},
    **{f"{name}_all": f"{RANKING[name].heading} (all)" for name in ("recall@10", "ndcg@10", "mrr")},
}
"""Metric → heading; an arrow down marks metrics that are better when lower."""


def over_all(metric: str) -> str:
    """Return the heading of a ranking metric over all targets."""
    return f"{COLUMNS[metric]} (all)"
