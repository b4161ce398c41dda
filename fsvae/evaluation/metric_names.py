"""Names of the ranking metrics."""

CUTOFFS = (1, 10, 20, 100)
"""Lengths of the lists in which a target is looked for."""
RANKING_METRICS = (*(f"recall@{k}" for k in CUTOFFS), "ndcg@10", "mrr")
