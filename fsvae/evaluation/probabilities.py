"""What a model's probabilities are worth: nats per next track, and how reliable the first track's is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EVEN_ODDS = 1e-3
"""Share of even odds over all candidates that is mixed in, or a model that rules out what comes would lose all."""
BINS = 10
"""Number of groups of targets by the probability of the first track, of about equal size."""


def nats(p_N: NDArray[np.floating], candidates_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the surprise at each next track, -ln p, mixed with EVEN_ODDS [nats], [N].

    Args:
        p_N: probability that the model gave to the track.
        candidates_N: number of tracks that could come.
    """
    return np.asarray(-np.log((1 - EVEN_ODDS) * p_N.astype(np.float64) + EVEN_ODDS / np.maximum(candidates_N, 1)))


def reliability(p_N: NDArray[np.float64], came_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return mean probability, share that came, and number of targets of each group by the first track's probability.

    Args:
        p_N: probability that the model gave to the track that it put first.
        came_N: whether it came next.

    Returns:
        [3, groups], by ascending probability; at most BINS groups, none of them empty. Targets of equal probability are
        in one group: apart, they would differ by who they are alone.
    """
    order = np.argsort(p_N, kind="stable")
    ends = np.arange(1, BINS) * len(p_N) // BINS
    after_ties = np.searchsorted(p_N[order], p_N[order][ends[ends > 0] - 1], side="right")
    groups = np.split(order, np.unique(after_ties))
    return np.array([[p_N[at].mean(), came_N[at].mean(), len(at)] for at in groups if len(at)]).reshape(-1, 3).T


def calibration_error(p_N: NDArray[np.float64], came_N: NDArray[np.bool_]) -> float:
    """Return the mean distance of probability and share over the groups of `reliability`; NaN of no target.

    It is the expected calibration error with groups of equal size (Nguyen and O'Connor, EMNLP 2015).
    """
    if not len(p_N):
        return float("nan")
    p, share, size = reliability(p_N, came_N)
    return float(np.average(np.abs(p - share), weights=size))
