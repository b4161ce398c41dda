"""Earlier sessions that share tracks with the listens just before: each votes for what it holds around those tracks.

A nearest-neighbour method like V-SKNN and STAN (Garg et al., SIGIR 2019), made an expert of the mixture: the neighbours
are the latest sessions of anybody that hold one of the last tracks. A neighbour weighs more the more of them it holds
and the later they are; a track weighs more the nearer it is to the shared one, and more after it than before.

Legend: L listens, S sessions, P postings, N or R listens that ask, T tracks, M tracks with votes, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fsvae.data.history import session_begins
from fsvae.data.listens import Listens, offsets_of

LATEST = 5
"""Number of listens just before, whose tracks neighbours share."""
MOST = 150
"""Number of latest listens to each of those tracks whose sessions are compared."""
WINDOW = 12
"""Number of listens before and after a shared track that a neighbour votes for."""
POWERS = (1.0, 3.0)
"""Powers of a neighbour's similarity by which it weighs: an expert for each."""
_WEIGHT = np.exp(-np.arange(LATEST) / 1.5)
"""Weight of a shared track by how many listens ago it was."""
_STEPS = np.arange(-WINDOW, WINDOW + 1)
_VOTE = np.exp(-np.abs(_STEPS) / 2.0) * np.where(_STEPS < 0, 0.6, 1.0)
_VOTE[WINDOW] = 0.0
"""[2 WINDOW + 1] weight of a neighbour's track by its distance from the shared one, of which it holds no vote."""
_VOTES = np.append(0.0, np.cumsum(_VOTE))
"""Sum of the first of these weights."""


@dataclass(frozen=True)
class Sessions:
    """Everybody's sessions, and where each track is in them. A place is an index among their listens."""

    track_L: NDArray[np.int32]
    """Track of each listen, session after session."""
    played_at_L: NDArray[np.int64]
    """Time of each listen [us]."""
    session_L: NDArray[np.int32]
    """Session of each listen."""
    begin_S: NDArray[np.int64]
    """[S + 1] place of the first listen of each session, and the number of listens."""
    place_P: NDArray[np.int64]
    """Place of each listen, in order of track, then time."""
    begin_T: NDArray[np.int64]
    """[T + 1] place of the first posting of each track in `place_P`, and their number."""
    until: int
    """Time [us] that the listens which are read are before."""

    @classmethod
    def of(cls, listens: Listens, n_tracks: int, until: int) -> Sessions:
        """Return the sessions of some listens, without those to tracks from `n_tracks` on."""
        counted = listens.track < n_tracks
        track, played_at = listens.track[counted].astype(np.int32), listens.played_at[counted]
        session, size = np.unique(session_begins(listens)[counted], return_inverse=True, return_counts=True)[1:]
        place = np.lexsort((np.arange(len(track)), played_at, track))
        begin_T = offsets_of(np.bincount(track[place], minlength=n_tracks))
        return cls(track, played_at, session.astype(np.int32), offsets_of(size), place, begin_T, until)

    def pruned(self) -> Sessions:
        """Return the part of the sessions that can be asked for as of `until`, for a file."""
        played_at = self.played_at_L[self.place_P]
        track_P = np.repeat(np.arange(len(self.begin_T) - 1), np.diff(self.begin_T))
        known = played_at < self.until
        left = np.cumsum(known[::-1])[::-1]  # number of known postings from each one on
        after = np.append(left, 0)[self.begin_T[1:]][track_P]
        place = self.place_P[known & (left - after <= MOST)]
        kept = np.zeros(len(self.track_L) + 1, dtype=np.int64)
        session = self.session_L[place]
        np.add.at(kept, np.maximum(place - WINDOW, self.begin_S[session]), 1)
        np.add.at(kept, np.minimum(place + WINDOW + 1, self.begin_S[session + 1]), -1)
        kept_L = (np.cumsum(kept)[:-1] > 0) & (self.played_at_L < self.until)
        place_of = np.cumsum(kept_L) - 1
        sessions, session_L = np.unique(self.session_L[kept_L], return_inverse=True)
        begin_S = offsets_of(np.bincount(session_L, minlength=len(sessions)))
        begin_T = offsets_of(np.bincount(self.track_L[place], minlength=len(self.begin_T) - 1))
        return Sessions(
            self.track_L[kept_L],
            self.played_at_L[kept_L],
            session_L.astype(np.int32),
            begin_S,
            place_of[place],
            begin_T,
            self.until,
        )

    @cached_property
    def _known(self) -> _Known:
        """Return what is known as of `until`, for compiled code."""
        known_L = np.cumsum(np.append(0, self.played_at_L < self.until))
        known_P = np.cumsum(np.append(0, self.played_at_L[self.place_P] < self.until))
        return _Known(
            self.track_L,
            self.session_L[self.place_P],
            self.place_P,
            np.stack([self.begin_S[:-1], self.begin_S[:-1] + np.diff(known_L[self.begin_S])], axis=1),
            np.stack([self.begin_T[:-1], self.begin_T[:-1] + np.diff(known_P[self.begin_T])], axis=1),
        )

    def supports(
        self, listens: Listens, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return what neighbours gave before the listens at some flat positions, [N, len(POWERS)] each.

        Returns:
            Total weight of all votes, weight of those for the listen's own track, number of neighbours, and similarity
            of the most similar one, as a share of the largest that there can be.
        """
        total, count, distinct, top = (np.zeros((len(rows), len(POWERS)), dtype=np.float32) for _ in range(4))
        _support(*self._asked(listens, rows), total, count, distinct, top)
        return total, count, distinct, top

    def votes(self, listens: Listens, rows: NDArray[np.int64]) -> Votes:
        """Return the votes of the neighbours before the listens at some flat positions."""
        slot_T = np.full(len(self.begin_T) - 1, -1, np.int32)
        return Votes(*_votes(*self._asked(listens, rows), slot_T))

    def _asked(
        self, listens: Listens, rows: NDArray[np.int64]
    ) -> tuple[_Known, _Workspace, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Return what compiled searches for some listens take first: `first` are the users' first listens."""
        work = _Workspace.of(len(self.begin_S) - 1)
        return self._known, work, listens.track, rows, listens.offsets[listens.user[rows]]


class Votes(NamedTuple):
    """Votes of the neighbours before R listens: the tracks before the first one, before the next one, ..., M in all."""

    begin_R: NDArray[np.int64]
    """[R + 1] place of the first track of each listen, and their number."""
    track_M: NDArray[np.int32]
    """Track index."""
    weight_ME: NDArray[np.float32]
    """Weight of the votes for it, for each of POWERS."""
    near_R: NDArray[np.float32]
    """Number of neighbours of each listen."""
    top_R: NDArray[np.float32]
    """Similarity of the most similar one, as a share of the largest that there can be."""

    def supports(
        self, track_R: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return what `Sessions.supports` gives for listens to some tracks."""
        total, count = (np.zeros((len(track_R), len(POWERS)), dtype=np.float32) for _ in range(2))
        _sum_votes(self, track_R, total, count)
        near, top = (np.repeat(of[:, None], len(POWERS), axis=1) for of in (self.near_R, self.top_R))
        return total, count, near, top

    def add_rows(self, weight_RE: NDArray[np.float32], out_RT: NDArray[np.float32]) -> None:
        """Add the neighbours' part of the mixture's p(track): `weight_RE` is an expert's gate over its total."""
        _add_votes(self, np.ascontiguousarray(weight_RE), out_RT)

    def candidates(self, candidate_RK: NDArray[np.int64], n_tracks: int) -> NDArray[np.float32]:
        """Return the weight of the votes for some candidates, [R, K, len(POWERS)]; they are among `n_tracks`."""
        out = np.zeros((*candidate_RK.shape, len(POWERS)), dtype=np.float32)
        _votes_of(self, candidate_RK, np.full(n_tracks, -1, np.int32), out)
        return out


class _Known(NamedTuple):
    """Sessions as of a time."""

    track: NDArray[np.int32]
    session_P: NDArray[np.int32]
    place: NDArray[np.int64]
    of_session: NDArray[np.int64]
    """[S, 2] begin and end of the listens of each session that are known."""
    of_track: NDArray[np.int64]
    """[T, 2] begin and end of the postings of each track that are known."""


class _Workspace(NamedTuple):
    """Arrays that searches write to, one after the other. Each call has its own: requests run side by side."""

    number_S: NDArray[np.int32]
    """[S] number of each session among the neighbours; -1 for none, and for all between two searches."""
    session: NDArray[np.int32]
    """Session of each neighbour."""
    similarity: NDArray[np.float32]
    shared: NDArray[np.int8]
    """[neighbours, 2] by how many listens ago the latest and the last shared track was that it holds, 1 for the last
    listen."""
    at: NDArray[np.int64]
    """Place of its latest shared listen."""
    weight: NDArray[np.float64]
    """[neighbours, len(POWERS)] powers of its similarity."""

    @classmethod
    def of(cls, n_sessions: int) -> _Workspace:
        """Return the arrays for some sessions."""
        most = LATEST * MOST
        return cls(
            np.full(n_sessions, -1, np.int32),
            np.zeros(most, np.int32),
            np.zeros(most, np.float32),
            np.zeros((most, 2), np.int8),
            np.zeros(most, np.int64),
            np.zeros((most, len(POWERS))),
        )


@njit(cache=True, nogil=True)
def _find(known: _Known, work: _Workspace, asking: NDArray[np.int32], row: int, first: int) -> tuple[int, float]:
    """Write the neighbours before a listen; return their number and the largest similarity."""
    n, most = 0, 0.0
    for lag in range(1, LATEST + 1):
        i = row - lag
        if i < first:
            break
        y = asking[i]
        skipped = y >= len(known.of_track)
        for later in range(i + 1, row):
            skipped = skipped or asking[later] == y
        if skipped:
            continue
        low, high = known.of_track[y]
        for p in range(max(low, high - MOST), high):
            place = known.place[p]
            s = known.session_P[p]
            m = work.number_S[s]
            if m < 0:
                m = work.number_S[s] = n
                work.session[m], work.similarity[m], work.shared[m] = s, 0.0, lag
                work.shared[m, 1] = 0
                n += 1
            if work.shared[m, 1] != lag:  # a track that a session holds twice counts once
                work.shared[m, 1] = lag
                work.similarity[m] += np.float32(_WEIGHT[lag - 1])
                most = max(most, work.similarity[m])
            if work.shared[m, 0] == lag:
                work.at[m] = place
    for m in range(n):
        work.number_S[work.session[m]] = -1
        for e in range(len(POWERS)):
            work.weight[m, e] = work.similarity[m] ** POWERS[e]
    return n, most


@njit(cache=True, nogil=True)
def _window(known: _Known, work: _Workspace, m: int) -> tuple[int, int]:
    """Return the begin and the end of the places that a neighbour may vote for."""
    begin, end = known.of_session[work.session[m]]
    return max(work.at[m] - WINDOW, begin), min(work.at[m] + WINDOW + 1, end)


@njit(cache=True, nogil=True)
def _support(
    known: _Known,
    work: _Workspace,
    asking: NDArray[np.int32],
    rows: NDArray[np.int64],
    first: NDArray[np.int64],
    total: NDArray[np.float32],
    count: NDArray[np.float32],
    distinct: NDArray[np.float32],
    top: NDArray[np.float32],
) -> None:
    """Write what neighbours gave before some listens (`Sessions.supports`); `first`: the users' first listens."""
    sums = np.zeros((2, len(POWERS)))
    for r in range(len(rows)):
        n, most = _find(known, work, asking, rows[r], first[r])
        distinct[r], top[r] = n, most / _WEIGHT.sum()
        sums[:] = 0.0
        for m in range(n):
            begin, end = _window(known, work, m)
            nearest = begin - work.at[m] + WINDOW
            votes, own_votes = _VOTES[nearest + end - begin] - _VOTES[nearest], 0.0
            for p in range(begin, end):
                if known.track[p] == asking[rows[r]]:
                    own_votes += _VOTE[nearest + p - begin]
            for e in range(len(POWERS)):
                sums[0, e] += votes * work.weight[m, e]
                sums[1, e] += own_votes * work.weight[m, e]
        total[r], count[r] = sums[0], sums[1]


@njit(cache=True, nogil=True)
def _votes(
    known: _Known,
    work: _Workspace,
    asking: NDArray[np.int32],
    rows: NDArray[np.int64],
    first: NDArray[np.int64],
    slot_T: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the parts of `Votes`; `first` are the users' first listens, `slot_T` is -1 throughout."""
    begin = np.zeros(len(rows) + 1, np.int64)
    near, top = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.float32)
    track, weight = np.empty(1024, np.int32), np.empty((1024, len(POWERS)), np.float32)
    for r in range(len(rows)):
        n, most = _find(known, work, asking, rows[r], first[r])
        near[r], top[r] = n, most / _WEIGHT.sum()
        end = begin[r]
        room = end
        for m in range(n):
            low, high = _window(known, work, m)
            room += high - low
        if room > len(track):
            room = max(room, 2 * len(track))
            larger, heavier = np.empty(room, np.int32), np.empty((room, len(POWERS)), np.float32)
            larger[:end], heavier[:end] = track[:end], weight[:end]
            track, weight = larger, heavier
        for m in range(n):
            low, high = _window(known, work, m)
            for p in range(low, high):
                y = known.track[p]
                slot = slot_T[y]
                if slot < 0:
                    slot = slot_T[y] = end
                    track[slot] = y
                    weight[slot] = 0.0
                    end += 1
                vote = _VOTE[p - work.at[m] + WINDOW]
                for e in range(len(POWERS)):
                    weight[slot, e] += work.weight[m, e] * vote
        for m in range(begin[r], end):
            slot_T[track[m]] = -1
        begin[r + 1] = end
    return begin, track[: begin[-1]], weight[: begin[-1]], near, top


@njit(cache=True, nogil=True)
def _sum_votes(
    votes: Votes, track_R: NDArray[np.int64], total_RE: NDArray[np.float32], count_RE: NDArray[np.float32]
) -> None:
    """Write the weights of all votes of each listen, and of those for its own track."""
    for r in range(len(track_R)):
        for m in range(votes.begin_R[r], votes.begin_R[r + 1]):
            total_RE[r] += votes.weight_ME[m]
            if votes.track_M[m] == track_R[r]:
                count_RE[r] = votes.weight_ME[m]


@njit(cache=True, nogil=True)
def _add_votes(votes: Votes, weight_RE: NDArray[np.float32], out_RT: NDArray[np.float32]) -> None:
    """Add the weighted votes of each listen to its row of probabilities."""
    for r in range(len(out_RT)):
        for m in range(votes.begin_R[r], votes.begin_R[r + 1]):
            for e in range(len(POWERS)):
                out_RT[r, votes.track_M[m]] += weight_RE[r, e] * votes.weight_ME[m, e]


@njit(cache=True, nogil=True)
def _votes_of(
    votes: Votes, candidate_RK: NDArray[np.int64], slot_T: NDArray[np.int32], out_RKE: NDArray[np.float32]
) -> None:
    """Write the votes for some candidates of each listen; `slot_T` is -1 throughout."""
    for r in range(len(candidate_RK)):
        for k in range(candidate_RK.shape[1]):
            slot_T[candidate_RK[r, k]] = k
        for m in range(votes.begin_R[r], votes.begin_R[r + 1]):
            k = slot_T[votes.track_M[m]]
            if k >= 0:
                out_RKE[r, k] = votes.weight_ME[m]
        for k in range(candidate_RK.shape[1]):
            slot_T[candidate_RK[r, k]] = -1
