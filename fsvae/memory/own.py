"""A user's own memory before each listen, in one pass over all listens.

It gives what the gates read of every listen, and the counts of the listen's own track, which is all that training
needs. `fsvae.memory.look_back` gives the counts of every track before one listen. Both count the same; a test compares
them.

Legend: N listens, X contexts, E experts, B age buckets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fsvae.data.history import NO_KEY, joint_key, session_begins, tracks_before
from fsvae.data.listens import Listens
from fsvae.features.artists import artists_of
from fsvae.features.clock import DAY_US
from fsvae.features.sessions import pause_buckets
from fsvae.memory.contexts import AGES, DAYS, LISTENS, OCCURRENCES, OWN, OWN_TABLE


class OwnSupports(NamedTuple):
    """What the user's own memory held before each listen."""

    total_NE: NDArray[np.float32]
    """Faded count of all followers of each expert's context."""
    count_NE: NDArray[np.float32]
    """Faded count of the listen's own track among them."""
    distinct_NX: NDArray[np.float32]
    """Number of distinct followers of each context."""
    top_NX: NDArray[np.float32]
    """Share of the most frequent follower in the counts of each context, which are not faded here; 0 without any."""
    age_N: NDArray[np.int8]
    """Age bucket of the listen's own track, -1 where the user had not heard it."""
    ages_NB: NDArray[np.float32]
    """Number of tracks in each age bucket."""


def own_supports(listens: Listens, artist_T: NDArray[np.int32]) -> OwnSupports:
    """Return what the user's own memory held before each listen, for all listens in one pass.

    Args:
        listens: the listens.
        artist_T: artist of each track that is counted, NO_KEY where it is not known (`fsvae.features.artists`); a track
            from T on is a listen, but counts for no expert.
    """
    n, table, n_tracks = len(listens), OWN_TABLE, len(artist_T)
    track = listens.track.astype(np.int64)
    counted = track < n_tracks
    artist = artists_of(artist_T, track)
    pause = pause_buckets(listens.played_at, listens.previous_at)
    by_artist = listens.with_tracks(artist.astype(np.int32))
    total = np.zeros((n, len(table.context)), dtype=np.float32)
    count = np.zeros_like(total)
    distinct = np.zeros((n, len(OWN)), dtype=np.float32)
    top = np.zeros_like(distinct)
    days = listens.played_at / DAY_US
    places = np.arange(n, dtype=np.float64)
    for x, own in enumerate(OWN):
        key = np.unique(session_begins(listens), return_inverse=True)[1] if own.session else listens.user
        if own.by_pause:
            key = joint_key(key, pause)
        for lag in own.lags:
            key = joint_key(key, tracks_before(by_artist if own.by_artist else listens, lag))
        asked = key
        if own.same_artist:  # a listen asks for the artist before it, and is counted for its own
            both = np.concatenate([artist, tracks_before(by_artist, 1)])
            key, asked = np.split(joint_key(np.tile(listens.user, 2), both), 2)
        pair, asked_pair = np.split(joint_key(np.concatenate([key, asked]), np.tile(track, 2)), 2)
        keys = int(max(key.max(initial=-1), asked.max(initial=-1))) + 1
        pairs = int(max(pair.max(initial=-1), asked_pair.max(initial=-1))) + 1
        keyed = counted & (key != NO_KEY)
        _followers(asked, key, pair, keyed, keys, pairs, distinct[:, x], top[:, x])
        for e in np.flatnonzero(table.context == x):
            clock = {LISTENS: places, DAYS: days}.get(int(table.clock[e]), places)
            _faded(
                asked, asked_pair, key, pair, keyed, keys, pairs, clock, table.clock[e], table.half_life[e],
                total[:, e], count[:, e],
            )  # fmt: skip
    age, ages = _ages(listens.offsets, track, n_tracks, AGES)
    return OwnSupports(total, count, distinct, top, age, ages)


@njit(cache=True, nogil=True)
def _followers(
    asked: NDArray[np.int64],
    key: NDArray[np.int64],
    pair: NDArray[np.int64],
    counted: NDArray[np.bool_],
    n_keys: int,
    n_pairs: int,
    distinct: NDArray[np.float32],
    top: NDArray[np.float32],
) -> None:
    """Write how many distinct followers each listen's context had before it, and the share of the most frequent one.

    `asked` is the context that a listen asks for, `key` the one that it is counted in, mostly the same; `pair` is that
    with its track. All are numbered from 0.
    """
    total, kinds, most = np.zeros(n_keys), np.zeros(n_keys), np.zeros(n_keys)
    times = np.zeros(n_pairs)
    for i in range(len(key)):
        k = asked[i]
        if k != NO_KEY:
            distinct[i] = kinds[k]
            top[i] = most[k] / total[k] if total[k] > 0 else 0.0
        if counted[i]:
            k, p = key[i], pair[i]
            kinds[k] += times[p] == 0
            times[p] += 1
            total[k] += 1
            most[k] = max(most[k], times[p])


@njit(cache=True, nogil=True)
def _faded(
    asked: NDArray[np.int64],
    asked_pair: NDArray[np.int64],
    key: NDArray[np.int64],
    pair: NDArray[np.int64],
    counted: NDArray[np.bool_],
    n_keys: int,
    n_pairs: int,
    clock: NDArray[np.float64],
    kind: int,
    half_life: float,
    total: NDArray[np.float32],
    count: NDArray[np.float32],
) -> None:
    """Write the faded counts before each listen: of all followers of its context, and of its own track.

    The contexts are those of `_followers`; `asked_pair` is the context asked for with the listen's track. `clock` is
    the time of each listen in the unit of the half-life; counts by occurrences do not read it.
    """
    of_key, of_pair = np.zeros(n_keys), np.zeros(n_pairs)
    key_at, pair_at = np.zeros(n_keys), np.zeros(n_pairs)
    occurrences = np.zeros(n_keys)
    for i in range(len(key)):
        k = asked[i]
        if k != NO_KEY:
            p = asked_pair[i]
            total[i], count[i] = of_key[k], of_pair[p]
            if kind > 0:
                now = occurrences[k] if kind == OCCURRENCES else clock[i]
                total[i] *= 2.0 ** ((key_at[k] - now) / half_life)
                count[i] *= 2.0 ** ((pair_at[p] - now) / half_life)
        if counted[i]:
            k, p = key[i], pair[i]
            if kind > 0:
                occurrences[k] += 1  # the latest occurrence weighs 1 at the next one
                now = occurrences[k] if kind == OCCURRENCES else clock[i]
                of_key[k] *= 2.0 ** ((key_at[k] - now) / half_life)
                of_pair[p] *= 2.0 ** ((pair_at[p] - now) / half_life)
                key_at[k] = pair_at[p] = now
            of_key[k] += 1.0
            of_pair[p] += 1.0


@njit(cache=True, nogil=True)
def _ages(
    offsets: NDArray[np.int64], track: NDArray[np.int64], n_tracks: int, buckets: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the age bucket of each listen's track, [N], and how many tracks are in each bucket before it, [N, B].

    The tracks of the buckets up to b are those in a window of the latest 2^(b + 1) - 1 listens. A track that the user
    had not heard is in bucket -1.
    """
    n = len(track)
    age = np.full(n, -1, np.int8)
    ages = np.zeros((n, buckets), np.float32)
    longest = 1
    for u in range(len(offsets) - 1):
        longest = max(longest, offsets[u + 1] - offsets[u])
    slot = np.full(n_tracks, -1, np.int64)
    last = np.empty(longest, np.int64)
    times = np.zeros((buckets, longest), np.int32)
    for u in range(len(offsets) - 1):
        begin, end = offsets[u], offsets[u + 1]
        kinds = np.zeros(buckets, np.int64)
        found = 0
        for i in range(begin, end):
            for b in range(buckets):
                ages[i, b] = kinds[b] - (kinds[b - 1] if b > 0 else 0)
            y = track[i]
            if y < n_tracks:
                s = slot[y]
                if s >= 0:
                    age[i] = min(int(np.log2(i - last[s])), buckets - 1)
                else:
                    s = slot[y] = found
                    found += 1
                last[s] = i
                for b in range(buckets):
                    kinds[b] += times[b, s] == 0
                    times[b, s] += 1
            for b in range(buckets - 1):
                leaves = i - 2 ** (b + 1) + 1
                if leaves >= begin and track[leaves] < n_tracks:
                    s = slot[track[leaves]]
                    times[b, s] -= 1
                    kinds[b] -= times[b, s] == 0
        for i in range(begin, end):
            if track[i] < n_tracks:
                slot[track[i]] = -1
        times[:, :found] = 0
    return age, ages
