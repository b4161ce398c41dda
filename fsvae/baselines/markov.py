"""Markov transitions: which track followed the last one, for all users in training and for the user so far.

`MarkovGlobal` is the first-order chain of all users. `MarkovBlended` blends it with the user's own counts: followers of
the last track, followers of the last two, and all tracks heard. The global chain is frozen after training; the user's
own counts at a position hold every listen of the user before it, in the test period too, and never the target.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fsvae.baselines.score_based import Score, ScoreBasedBaseline, decayed_counts, rows_to_one, sparse, widened
from fsvae.baselines.settings import MarkovConfig, NoSettings
from fsvae.data.dataset import Dataset
from fsvae.data.history import NO_KEY, Occurrences, joint_key, tracks_before


class _Chain:
    """Transition counts of all users in the training period."""

    def __init__(self, dataset: Dataset) -> None:
        """Count which tracks followed each track."""
        listens = dataset.listens
        last = tracks_before(listens, 1)
        trained = (last != NO_KEY) & (listens.played_at < dataset.period("train")[1])
        row, column = last[trained], listens.track[trained].astype(np.int64)
        self._unseen = int(row.max(initial=0)) + 1  # this row stays empty
        self._counts = sparse(row, column, np.ones(len(row)), (self._unseen + 1, dataset.n_tracks))

    def after(self, last: NDArray[np.int64], n_tracks: int) -> sp.csr_array:
        """Return the counts of the followers of each of N tracks, [N, T]."""
        followers = self._counts[np.where((last == NO_KEY) | (last > self._unseen), self._unseen, last)]
        return widened(followers, n_tracks)


class MarkovGlobal(ScoreBasedBaseline):
    """A baseline that scores tracks by how often they followed the last track in training."""

    name = "Markov, global"

    def __init__(self, config: NoSettings | None = None) -> None:
        """Take the config."""

    def _learn(self, dataset: Dataset) -> None:
        self._chain = _Chain(dataset)

    def _scorer(self, dataset: Dataset) -> Score:
        last = tracks_before(dataset.listens, 1)
        return lambda targets: self._chain.after(last[targets], dataset.n_tracks)


class MarkovBlended(ScoreBasedBaseline):
    """A baseline that blends global and personal transitions and the user's own track frequencies."""

    name = "Markov, blended"

    def __init__(self, config: MarkovConfig | None = None) -> None:
        """Take the config."""
        self._config = config or MarkovConfig()

    def _learn(self, dataset: Dataset) -> None:
        self._chain = _Chain(dataset)

    def _scorer(self, dataset: Dataset) -> Score:
        listens, config, n_tracks = dataset.listens, self._config, dataset.n_tracks
        track, last = listens.track.astype(np.int64), tracks_before(listens, 1)
        after_last = joint_key(listens.user, last)
        after_pair = joint_key(after_last, tracks_before(listens, 2))
        own = (
            (config.personal_weight, Occurrences(after_last), config.transition_half_life),
            (config.pair_weight, Occurrences(after_pair), config.transition_half_life),
            (config.frequency_weight, Occurrences(listens.user), config.frequency_half_life),
        )

        def score(targets: NDArray[np.int64]) -> sp.csr_array:
            blend = config.global_weight * rows_to_one(self._chain.after(last[targets], n_tracks), config.shrinkage)
            for weight, occurrences, half_life in own:
                counts = decayed_counts(occurrences, targets, track, half_life, n_tracks)
                blend = blend + weight * rows_to_one(counts, config.shrinkage)
            return blend

        return score
