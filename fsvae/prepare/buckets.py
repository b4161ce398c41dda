"""Buckets of users by a stable hash, so that some users can be read alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

N_BUCKETS = 64
"""Number of buckets; fixed for the life of a lake."""


def buckets_of(user_ids: pl.Series) -> pl.Series:
    """Return the bucket (Int16) of each user id: xxh64 of its UTF-8 bytes modulo N_BUCKETS."""
    values = [xxhash.xxh64_intdigest(user.encode()) % N_BUCKETS for user in user_ids.to_list()]
    return pl.Series("bucket", values, dtype=pl.Int16)


def slices_of(user_ids: list[str], slices: int) -> NDArray[np.int64]:
    """Return which of `slices` slices of its bucket each user id is in, by the rest of the same hash."""
    return np.array([xxhash.xxh64_intdigest(user.encode()) // N_BUCKETS % slices for user in user_ids], dtype=np.int64)
