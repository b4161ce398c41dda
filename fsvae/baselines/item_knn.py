"""item-kNN: tracks that are heard together with the user's recent ones (Sarwar et al., WWW 2001).

The similarity of two tracks is the cosine of their columns in the training period's table of sessions (or users) by
tracks. A track is its own nearest neighbour, so recent tracks are recommended again: repeats stay in. So is one that
nobody has listened to in training, which has no other neighbour.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fsvae.baselines.score_based import Score, ScoreBasedBaseline, decayed_counts, largest_of_rows, sparse
from fsvae.baselines.settings import ItemKNNConfig
from fsvae.data.dataset import Dataset
from fsvae.data.history import Occurrences, blocks, session_begins
from fsvae.limits import check


class ItemKNN(ScoreBasedBaseline):
    """A baseline that scores a track by its cosine to each of the user's listens, the latest ones counting most."""

    name = "item-kNN"

    def __init__(self, config: ItemKNNConfig | None = None) -> None:
        """Take the config.

        Raises:
            UserError: a setting is outside its limits.
        """
        self._config = config or ItemKNNConfig()
        check(self._config, "baselines.item_knn.")

    def _learn(self, dataset: Dataset) -> None:
        listens, n_tracks = dataset.listens, dataset.n_tracks
        trained = np.flatnonzero(listens.played_at < dataset.period("train")[1])
        group = listens.user if self._config.together == "user" else session_begins(listens)
        track = listens.track[trained].astype(np.int64)
        heard = sparse(group[trained], track, np.ones(len(track)), (int(group.max()) + 1, n_tracks))
        heard.data[:] = 1.0
        lengths = np.sqrt(np.maximum(heard.sum(axis=0), 1.0))
        unit = sp.csr_array(heard @ sp.diags_array(1.0 / lengths))
        by_track = sp.csr_array(unit.T)
        nearest = [
            largest_of_rows(sp.csr_array(by_track[rows] @ unit), self._config.neighbours)
            for rows in blocks(np.arange(n_tracks), n_tracks, n_tracks)
        ]
        self._cosines = sp.csr_array(sp.vstack(nearest))

    def _scorer(self, dataset: Dataset) -> Score:
        listens, n_tracks = dataset.listens, dataset.n_tracks
        track, occurrences = listens.track.astype(np.int64), Occurrences(listens.user)
        cosines = self._cosines.copy()
        cosines.resize((n_tracks, n_tracks))
        cosines = cosines + sp.diags_array((np.diff(cosines.indptr) == 0).astype(np.float64))

        def score(targets: NDArray[np.int64]) -> sp.csr_array:
            return decayed_counts(occurrences, targets, track, self._config.half_life, n_tracks) @ cosines

        return score
