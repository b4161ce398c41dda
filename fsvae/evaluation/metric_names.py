"""Names of the ranking metrics, and the headings of all metrics."""

CUTOFFS = (1, 10, 20, 100)
"""Lengths of the lists in which a target counts as found."""
RANKING_METRICS = (*(f"recall@{k}" for k in CUTOFFS), "ndcg@10", "mrr")
COLUMNS = {
    "l2": "L2 ↓",
    "cosine": "cosine ↓",
    **{f"recall@{k}": f"R@{k}" for k in CUTOFFS},
    "ndcg@10": "NDCG@10",
    "mrr": "MRR",
    "recall@10_all": "R@10 (all)",
    "ndcg@10_all": "NDCG@10 (all)",
    "mrr_all": "MRR (all)",
}
"""Metric → heading; an arrow down marks metrics that are better when lower."""


def over_all(metric: str) -> str:
    """Return the heading of a ranking metric over all targets."""
    return f"{COLUMNS[metric]} (all)"
