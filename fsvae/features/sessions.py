"""Sessions: runs of listens by one user without a long pause."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.features.clock import SECOND_US

SESSION_GAP_US = 30 * 60 * SECOND_US
"""A pause longer than this (30 minutes, in microseconds) starts a new session."""

NEVER = np.iinfo(np.int64).min
"""Time of the previous listen where there is none."""


def previous_times(offsets: NDArray[np.int64], played_at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every listen the time [us] of the same user's listen before it, or NEVER.

    Args:
        offsets: [U + 1] where each user's listens begin in the flat arrays.
        played_at: [N] microseconds since 1970 UTC, ordered within a user.
    """
    previous = np.empty_like(played_at)
    previous[1:] = played_at[:-1]
    starts = offsets[:-1][np.diff(offsets) > 0]
    previous[starts] = NEVER
    return previous


_PAUSES_US = 15 * SECOND_US * 2 ** np.arange(12)
"""Ends of the buckets of pauses [us]: 15 s, 30 s, ..., 8.5 hours."""


def pause_buckets(at: NDArray[np.int64], previous_at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bucket, from 1, of how long each listen at `at` [us] began after one at `previous_at`; NEVER: 0."""
    bucket = np.searchsorted(_PAUSES_US, at - np.maximum(previous_at, 0), side="right")
    return np.where(previous_at == NEVER, 0, bucket + 1)


def is_session_start(at: NDArray[np.int64], previous_at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether a listen at `at` [us] after one at `previous_at` [us] (or NEVER) opens a session."""
    return np.asarray(previous_at == NEVER) | (at - np.maximum(previous_at, 0) > SESSION_GAP_US)
