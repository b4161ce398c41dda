"""What a user heard before one listen, counted by looking back from it: for whole rows of evaluation and the endpoint.

Legend: N listens, X contexts, E experts, B age buckets, M distinct tracks that the user heard before, K candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fsvae.data.history import NO_KEY, session_begins
from fsvae.data.listens import Listens
from fsvae.features.clock import DAY_US
from fsvae.features.sessions import pause_buckets
from fsvae.memory.contexts import AGES, DAYS, LISTENS, MOST_LAGS, OCCURRENCES, OWN, OWN_TABLE, OwnTable


class Histories(NamedTuple):
    """All listens as arrays, for compiled code. A place is a flat position among them."""

    track: NDArray[np.int32]
    """Track of each listen; one from T on is not counted."""
    played_at: NDArray[np.int64]
    """Time of each listen [us]."""
    first: NDArray[np.int64]
    """Place of the first listen of each listen's user."""
    session: NDArray[np.int64]
    """Place of the first listen of each listen's session."""
    pause: NDArray[np.int64]
    """Bucket of the pause before each listen."""
    artist_T: NDArray[np.int32]
    """Artist of each track, NO_KEY where it is not known."""

    @classmethod
    def of(cls, listens: Listens, artist_T: NDArray[np.int32]) -> Histories:
        """Return the histories of some listens."""
        first = listens.offsets[listens.user]
        pause = pause_buckets(listens.played_at, listens.previous_at)
        return cls(listens.track, listens.played_at, first, session_begins(listens), pause, artist_T)


class Workspace(NamedTuple):
    """Arrays that `look_back` writes to and that are used again: of T tracks, with room for M that were heard."""

    slot_T: NDArray[np.int32]
    """Place of each track among those found, -1 for others."""
    track_M: NDArray[np.int64]
    """Track index of each track found."""
    age_M: NDArray[np.int64]
    """Its age bucket."""
    last_M: NDArray[np.int64]
    """Place (flat position) of the latest listen to it."""
    count_ME: NDArray[np.float64]
    """Its faded count by each expert."""
    times_MX: NDArray[np.int64]
    """How often it followed in each context."""

    @classmethod
    def of(cls, n_tracks: int, room: int) -> Workspace:
        """Return the arrays for histories of at most `room` listens."""
        return cls(
            np.full(n_tracks, -1, np.int32),
            np.zeros(room, np.int64),
            np.zeros(room, np.int64),
            np.zeros(room, np.int64),
            np.zeros((room, len(OWN_TABLE.context))),
            np.zeros((room, len(OWN)), np.int64),
        )


@njit(cache=True, nogil=True)
def _artist(artist_T: NDArray[np.int32], track: int) -> int:
    """Return the artist of a track, NO_KEY where it is not known."""
    return artist_T[track] if track < len(artist_T) else NO_KEY


@njit(cache=True, nogil=True)
def look_back(histories: Histories, at: int, table: OwnTable, work: Workspace) -> int:
    """Count what a user heard before one listen; return the number M of distinct tracks, whose counts `work` holds.

    Args:
        histories: all listens.
        at: place of the listen; the user's listens before it are counted, and its own track is not read.
        table: contexts and experts.
        work: arrays to write to; `slot_T` is -1 throughout before and after.
    """
    n_tracks, n_contexts, n_experts = len(work.slot_T), len(table.session), len(table.context)
    track, played_at, artist_T = histories.track, histories.played_at, histories.artist_T
    first, session, now = histories.first[at], histories.session[at], histories.played_at[at]
    last = _artist(artist_T, track[at - 1]) if at > first else NO_KEY
    half_life = table.half_life
    fading, weight = np.exp2(-1.0 / half_life), np.ones(n_experts)
    for e in range(n_experts):
        if table.clock[e] == LISTENS:
            weight[e] = fading[e]
    alike = np.zeros(MOST_LAGS + 1, np.bool_)
    alike[0] = True
    found = 0
    for j in range(at - 1, first - 1, -1):
        y = track[j]
        if y < n_tracks:
            s = work.slot_T[y]
            if s < 0:
                s = work.slot_T[y] = found
                found += 1
                work.track_M[s] = y
                work.age_M[s] = min(int(np.log2(at - j)), AGES - 1)
                work.last_M[s] = j
                work.count_ME[s] = 0.0
                work.times_MX[s] = 0
            for lag in range(1, MOST_LAGS + 1):
                alike[lag] = j - lag >= first and track[j - lag] == track[at - lag]
            e = 0
            for x in range(n_contexts):
                lags = table.lags[x]
                if table.by_artist[x]:
                    theirs = _artist(artist_T, track[at - lags[0]])
                    same = j - lags[0] >= first and theirs != NO_KEY
                    same = same and _artist(artist_T, track[j - lags[0]]) == theirs
                else:
                    same = alike[lags[0]] and alike[lags[1]] and alike[lags[2]]
                same = same and (not table.session[x] or j >= session)
                same = same and (not table.by_pause[x] or histories.pause[j] == histories.pause[at])
                same = same and (not table.same_artist[x] or (last != NO_KEY and artist_T[y] == last))
                if same:
                    work.times_MX[s, x] += 1
                while e < n_experts and table.context[e] == x:
                    if same:
                        kind = table.clock[e]
                        if kind == DAYS:
                            work.count_ME[s, e] += np.exp2((played_at[j] - now) / DAY_US / half_life[e])
                        else:
                            work.count_ME[s, e] += weight[e]
                        if kind == OCCURRENCES:
                            weight[e] *= fading[e]
                    e += 1
        for e in range(n_experts):
            if table.clock[e] == LISTENS:
                weight[e] *= fading[e]
    for s in range(found):
        work.slot_T[work.track_M[s]] = -1
    return found


@njit(cache=True, nogil=True)
def sum_own_rows(
    histories: Histories,
    at_N: NDArray[np.int64],
    table: OwnTable,
    work: Workspace,
    total_NE: NDArray[np.float32],
    count_NE: NDArray[np.float32],
    distinct_NX: NDArray[np.float32],
    top_NX: NDArray[np.float32],
    age_N: NDArray[np.int64],
    ages_NB: NDArray[np.float32],
) -> None:
    """Write what the user's own memory held before N listens, named as in `fsvae.memory.own.OwnSupports`.

    Args:
        histories: all listens.
        at_N: place of each listen.
        table: contexts and experts.
        work: arrays for `look_back`.
        total_NE: this and all that follow are zeros, but for `age_N`: -1.
    """
    total, heard = np.zeros(len(table.context)), np.zeros(len(table.session))
    for r in range(len(at_N)):
        total[:] = 0.0
        heard[:] = 0.0
        for s in range(look_back(histories, at_N[r], table, work)):
            own = work.track_M[s] == histories.track[at_N[r]]
            if own:
                age_N[r] = work.age_M[s]
            ages_NB[r, work.age_M[s]] += 1
            for e in range(len(table.context)):
                total[e] += work.count_ME[s, e]
                if own:
                    count_NE[r, e] = work.count_ME[s, e]
            for x in range(len(table.session)):
                times = work.times_MX[s, x]
                if times > 0:
                    heard[x] += times
                    distinct_NX[r, x] += 1
                    top_NX[r, x] = max(top_NX[r, x], times)
        total_NE[r] = total
        for x in range(len(table.session)):
            top_NX[r, x] /= max(heard[x], 1.0)


@njit(cache=True, nogil=True)
def add_own_rows(
    histories: Histories,
    at_N: NDArray[np.int64],
    weight_NE: NDArray[np.float32],
    less_NE: NDArray[np.float32],
    age_weight_NB: NDArray[np.float32],
    table: OwnTable,
    work: Workspace,
    out_NT: NDArray[np.float32],
) -> None:
    """Add the user's own part of the mixture's p(track), for every track before N listens.

    Args:
        histories: all listens.
        at_N: place of each listen.
        weight_NE: weight of a count: the expert's gate over its total.
        less_NE: what each counted track of an expert loses: the gate times the discount over the total.
        age_weight_NB: probability of each track of an age bucket: the bucket's gate over its number of tracks.
        table: contexts and experts.
        work: arrays for `look_back`.
        out_NT: probabilities, added to.
    """
    for r in range(len(at_N)):
        for s in range(look_back(histories, at_N[r], table, work)):
            p = age_weight_NB[r, work.age_M[s]]
            for e in range(len(table.context)):
                if work.times_MX[s, table.context[e]] > 0:
                    p += weight_NE[r, e] * work.count_ME[s, e] - less_NE[r, e]
            out_NT[r, work.track_M[s]] += p


@njit(cache=True, nogil=True)
def count_candidates(
    histories: Histories,
    at_N: NDArray[np.int64],
    candidate_NK: NDArray[np.int64],
    table: OwnTable,
    work: Workspace,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what a user did with some candidates before N listens.

    Args:
        histories: all listens.
        at_N: place of each listen.
        candidate_NK: track index of each candidate, in [0, T).
        table: contexts and experts.
        work: arrays for `look_back`.

    Returns:
        Faded counts by the user's own experts, [N, K, E], and how long ago the candidate was heard last, [N, K, 2]: in
        listens, then in days. Both are 0 where the user had not heard it.
    """
    n, k = candidate_NK.shape
    counts = np.zeros((n, k, len(table.context)), np.float32)
    ago = np.zeros((n, k, 2), np.float32)
    for r in range(n):
        at = at_N[r]
        found = look_back(histories, at, table, work)
        for s in range(found):
            work.slot_T[work.track_M[s]] = s
        for c in range(k):
            s = work.slot_T[candidate_NK[r, c]]
            if s >= 0:
                last = work.last_M[s]
                counts[r, c] = work.count_ME[s]
                ago[r, c, 0] = at - last
                ago[r, c, 1] = (histories.played_at[at] - histories.played_at[last]) / DAY_US
        for s in range(found):
            work.slot_T[work.track_M[s]] = -1
    return counts, ago
