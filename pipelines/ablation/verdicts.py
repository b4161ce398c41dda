"""Verdicts on a difference from the reference: worse, better, or the reason for neither."""

from __future__ import annotations

from math import hypot
from typing import Any

LOWER_IS_BETTER = ("l2", "cosine", "nats", "calibration_error")
WORSE, BETTER = "worse", "better"
UNSURE = "not told apart"
SEEDS = "not sure, as seeds differ"
TOO_FEW = "too few users for an interval"
MARKS = {UNSURE: "n.s.", SEEDS: "seeds"}
"""Verdict → mark beside a difference that is not certain."""


def verdict(metric: str, row: dict[str, Any]) -> str:
    """Return the verdict on a row of `fsvae.evaluation.comparison`.

    A variant is better or worse if zero is outside the interval over users, and also when that is widened by the one
    over seeds: the two are independent, so their squared widths add up. With one seed each, users alone decide.
    """
    difference = row["difference"]
    if difference is None:
        return TOO_FEW
    if not row["significant"]:
        return UNSURE
    towards_zero = difference - row["low"] if difference > 0 else row["high"] - difference
    if abs(difference) <= hypot(towards_zero, row["seed_margin"] or 0.0):
        return SEEDS
    return BETTER if (difference < 0) == (metric in LOWER_IS_BETTER) else WORSE
