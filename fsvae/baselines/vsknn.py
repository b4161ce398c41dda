"""V-SKNN: tracks of the training sessions that are most like the present one.

Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018: the present session is a
vector of tracks, 1 for the last one and less, linearly, for those before it; its similarity to a training session is
the dot product with that session's tracks. Only the latest sessions that share a track are compared, and the most
similar of those vote for their tracks with their similarity. Tracks of the present session stay in.

At the start of a session the user's previous session takes its place; without one, popularity does
(`ScoreBasedBaseline`). Training sessions are frozen when training ends: one that goes on is cut there.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fsvae.baselines.score_based import Score, ScoreBasedBaseline, first_of_rows, largest_of_rows, sparse, widened
from fsvae.baselines.settings import VSKNNConfig
from fsvae.data.dataset import Dataset
from fsvae.data.history import Occurrences, session_begins


class VSKNN(ScoreBasedBaseline):
    """A baseline of session-based nearest neighbours with a recency-weighted present session."""

    name = "V-SKNN"

    def __init__(self, config: VSKNNConfig | None = None) -> None:
        """Take the config."""
        self._config = config or VSKNNConfig()

    def _learn(self, dataset: Dataset) -> None:
        listens = dataset.listens
        counted = dataset.targets("train")
        _, session = np.unique(session_begins(listens)[counted], return_inverse=True)
        last_at = np.zeros(int(session.max()) + 1, dtype=np.int64)
        np.maximum.at(last_at, session, listens.played_at[counted])
        newest_first = np.empty(len(last_at), dtype=np.int64)
        newest_first[np.argsort(-last_at, kind="stable")] = np.arange(len(last_at))
        track = listens.track[counted].astype(np.int64)
        shape = (len(last_at), dataset.n_tracks)
        self._sessions = sparse(newest_first[session], track, np.ones(len(track)), shape)
        self._sessions.data[:] = 1.0
        # A session among the latest that share any of some tracks is among the latest of each of those it contains
        self._latest_with = first_of_rows(sp.csr_array(self._sessions.T), self._config.sample)

    def _scorer(self, dataset: Dataset) -> Score:
        config, listens, n_tracks = self._config, dataset.listens, dataset.n_tracks
        track, begins, occurrences = listens.track.astype(np.int64), session_begins(listens), Occurrences(listens.user)

        def score(targets: NDArray[np.int64]) -> sp.csr_array:
            at_start = (begins[targets] == targets) & (listens.n_before[targets] > 0)
            begin = begins[np.where(at_start, targets - 1, targets)]
            earlier = occurrences.before(targets, config.session_length)
            present = earlier.position >= begin[earlier.row]
            row, heard, age = earlier.row[present], track[earlier.position[present]], earlier.age[present]
            weight = 1.0 - age / np.bincount(row, minlength=len(targets))[row]
            _, latest = np.unique(row * (int(track.max()) + 1) + heard, return_index=True)  # a track counts once
            session = sparse(row[latest], heard[latest], weight[latest], (len(targets), self._sessions.shape[1]))
            candidates = first_of_rows(sp.csr_array(session @ self._latest_with), config.sample)
            return widened(largest_of_rows(candidates, config.neighbours) @ self._sessions, n_tracks)

        return score
