"""The best tracks of a question: among all scores, or among the few that can be best at all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.retrieval import highest

_REDUCED = 0.1
"""What the score of a track that was heard is multiplied by if repeats are reduced."""

Best = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Indices and scores of the best tracks, best first."""


class Wanted(NamedTuple):
    """Which tracks a question may be answered with; all are track indices."""

    k: int
    """Number of tracks."""
    unwanted: NDArray[np.int64]
    """Tracks that must not be recommended."""
    only: NDArray[np.int64] | None = None
    """The only ones that may be; None: any."""
    reduced: NDArray[np.int64] | None = None
    """Tracks whose score counts a tenth."""

    @property
    def any_track(self) -> bool:
        """Return whether every track counts with its own score, but for unwanted ones."""
        return self.only is None and self.reduced is None


def best_of_all(scores_T: NDArray[np.float32], wanted: Wanted) -> Best:
    """Return the best tracks by the scores of all, which are changed; ties by index. Tracks of -inf are none."""
    if wanted.reduced is not None:
        reduced = wanted.reduced[wanted.reduced < len(scores_T)]
        scores_T[reduced] *= np.where(scores_T[reduced] > 0, _REDUCED, 1.0)
    scores_T[wanted.unwanted[wanted.unwanted < len(scores_T)]] = -np.inf
    if wanted.only is None:
        best, found = highest(scores_T, wanted.k)
    else:
        only = wanted.only[wanted.only < len(scores_T)]
        of_only, found = highest(scores_T[only], wanted.k)
        best = only[of_only]
    possible = np.isfinite(found)
    return best[possible], found[possible]


def best_of_few(
    track_K: NDArray[np.int64], scores_K: NDArray[np.float32], most_of_others: float, wanted: Wanted
) -> Best | None:
    """Return the best tracks among a few, or None where others might be better.

    Args:
        track_K: the few tracks.
        scores_K: their scores.
        most_of_others: what no other track's score is above.
        wanted: which tracks count.
    """
    if not wanted.any_track or wanted.k > len(track_K):
        return None
    if len(wanted.unwanted):
        kept = ~np.isin(track_K, wanted.unwanted)
        track_K, scores_K = track_K[kept], scores_K[kept]
    order = np.lexsort((track_K, -scores_K))[: wanted.k]
    if len(order) < wanted.k or scores_K[order[-1]] <= most_of_others:
        return None
    return track_K[order], scores_K[order]
