"""What a difference from the reference is worth: worse, better, or why nothing is said."""

from __future__ import annotations

from typing import Any

LOWER_IS_BETTER = ("l2", "cosine")
WORSE, BETTER = "Worse", "Better"
UNSURE = "Not told apart"
WITHIN_SEEDS = "Less than seeds differ by"
TOO_FEW = "Too few users for an interval"
VERDICTS = (WORSE, BETTER, UNSURE, WITHIN_SEEDS, TOO_FEW)
MARKS = {UNSURE: "n.s.", WITHIN_SEEDS: "seeds"}
"""What stands beside a difference that is none for sure."""
_ERRORS = 2.0


def verdict(metric: str, row: dict[str, Any]) -> str:
    """Return what a row of `fsvae.evaluation.comparison` says.

    A cell is better or worse if the interval over users excludes zero and the difference is larger than two standard
    errors of it over seeds; of one seed each, the users alone decide.
    """
    if row["difference"] is None:
        return TOO_FEW
    if not row["significant"]:
        return UNSURE
    if abs(row["difference"]) <= seed_margin(row):
        return WITHIN_SEEDS
    return BETTER if (row["difference"] < 0) == (metric in LOWER_IS_BETTER) else WORSE


def seed_margin(row: dict[str, Any]) -> float:
    """Return two standard errors of a difference over seeds; 0 where there is one seed only."""
    return _ERRORS * (row["seed_error"] or 0.0)
