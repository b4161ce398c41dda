"""What a user heard before one listen, counted by looking back from it: for whole rows of evaluation and the endpoint.

Legend: R listens that are asked for, X contexts, E experts, B age buckets, M distinct tracks that users heard before, K
candidates.
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


class Heard(NamedTuple):
    """What users heard before R listens: distinct tracks before the first one, before the next one, ..., M in all."""

    begin_R: NDArray[np.int64]
    """[R + 1] place of the first track of each listen, and their number."""
    track_M: NDArray[np.int32]
    """Track index."""
    age_M: NDArray[np.int8]
    """Age bucket."""
    last_M: NDArray[np.int64]
    """Place (flat position) of the latest listen to it."""
    count_ME: NDArray[np.float32]
    """Faded count by each expert."""
    times_MX: NDArray[np.int32]
    """How often it followed in each context."""


@njit(cache=True, nogil=True)
def heard_before(
    histories: Histories, at_R: NDArray[np.int64], table: OwnTable, work: Workspace, room: int
) -> tuple[
    NDArray[np.int64], NDArray[np.int32], NDArray[np.int8], NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]
]:
    """Return the parts of `Heard` before the listens at some places, with room for so many tracks in all."""
    begin = np.zeros(len(at_R) + 1, np.int64)
    track, age, last = np.empty(room, np.int32), np.empty(room, np.int8), np.empty(room, np.int64)
    count = np.empty((room, len(table.context)), np.float32)
    times = np.empty((room, len(table.session)), np.int32)
    for r in range(len(at_R)):
        found = look_back(histories, at_R[r], table, work)
        low, high = begin[r], begin[r] + found
        track[low:high], age[low:high], last[low:high] = work.track_M[:found], work.age_M[:found], work.last_M[:found]
        count[low:high], times[low:high] = work.count_ME[:found], work.times_MX[:found]
        begin[r + 1] = high
    end = begin[-1]
    return begin, track[:end], age[:end], last[:end], count[:end], times[:end]


@njit(cache=True, nogil=True)
def sum_own_rows(
    heard: Heard,
    own_R: NDArray[np.int32],
    total_RE: NDArray[np.float32],
    count_RE: NDArray[np.float32],
    distinct_RX: NDArray[np.float32],
    top_RX: NDArray[np.float32],
    age_R: NDArray[np.int64],
    ages_RB: NDArray[np.float32],
) -> None:
    """Write what the users' own memory held before R listens, named as in `fsvae.memory.own.OwnSupports`.

    Args:
        heard: what was heard before each.
        own_R: its own track.
        total_RE: this and all that follow are zeros, but for `age_R`: -1.
    """
    experts, contexts = heard.count_ME.shape[1], heard.times_MX.shape[1]
    total, times = np.zeros(experts), np.zeros(contexts)
    for r in range(len(own_R)):
        total[:] = 0.0
        times[:] = 0.0
        for s in range(heard.begin_R[r], heard.begin_R[r + 1]):
            own = heard.track_M[s] == own_R[r]
            if own:
                age_R[r] = heard.age_M[s]
                count_RE[r] = heard.count_ME[s]
            ages_RB[r, heard.age_M[s]] += 1
            for e in range(experts):
                total[e] += heard.count_ME[s, e]
            for x in range(contexts):
                if heard.times_MX[s, x] > 0:
                    times[x] += heard.times_MX[s, x]
                    distinct_RX[r, x] += 1
                    top_RX[r, x] = max(top_RX[r, x], heard.times_MX[s, x])
        total_RE[r] = total
        for x in range(contexts):
            top_RX[r, x] /= max(times[x], 1.0)


@njit(cache=True, nogil=True)
def add_own_rows(
    heard: Heard,
    weight_RE: NDArray[np.float32],
    less_RE: NDArray[np.float32],
    age_weight_RB: NDArray[np.float32],
    context_E: NDArray[np.int64],
    out_RT: NDArray[np.float32],
) -> None:
    """Add the users' own part of the mixture's p(track), for every track before R listens.

    Args:
        heard: what was heard before each.
        weight_RE: weight of a count: the expert's gate over its total.
        less_RE: what each counted track of an expert loses: the gate times the discount over the total.
        age_weight_RB: probability of each track of an age bucket: the bucket's gate over its number of tracks.
        context_E: context of each expert.
        out_RT: probabilities, added to.
    """
    for r in range(len(out_RT)):
        for s in range(heard.begin_R[r], heard.begin_R[r + 1]):
            p = age_weight_RB[r, heard.age_M[s]]
            for e in range(len(context_E)):
                if heard.times_MX[s, context_E[e]] > 0:
                    p += weight_RE[r, e] * heard.count_ME[s, e] - less_RE[r, e]
            out_RT[r, heard.track_M[s]] += p


@njit(cache=True, nogil=True)
def count_candidates(
    heard: Heard,
    histories: Histories,
    at_R: NDArray[np.int64],
    candidate_RK: NDArray[np.int64],
    slot_T: NDArray[np.int32],
    counts_RKE: NDArray[np.float32],
    ago_RK2: NDArray[np.float32],
) -> None:
    """Write what users did with some candidates before R listens.

    Args:
        heard: what was heard before each.
        histories: all listens.
        at_R: place of each.
        candidate_RK: track index of each candidate, in [0, T).
        slot_T: -1 throughout before and after.
        counts_RKE: zeros; faded counts by the user's own experts.
        ago_RK2: zeros; how long ago the candidate was heard last, in listens and in days; 0 where it was not.
    """
    n, k = candidate_RK.shape
    for r in range(n):
        low, high = heard.begin_R[r], heard.begin_R[r + 1]
        for s in range(low, high):
            slot_T[heard.track_M[s]] = s
        for c in range(k):
            s = slot_T[candidate_RK[r, c]]
            if s >= 0:
                last = heard.last_M[s]
                counts_RKE[r, c] = heard.count_ME[s]
                ago_RK2[r, c, 0] = at_R[r] - last
                ago_RK2[r, c, 1] = (histories.played_at[at_R[r]] - histories.played_at[last]) / DAY_US
        for s in range(low, high):
            slot_T[heard.track_M[s]] = -1
