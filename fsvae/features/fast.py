"""Fast features: the inputs that one listen, or one request, gives beside the track itself.

The same two functions serve the prepared dataset, training, evaluation and the endpoint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.features.clock import DAY_US, EPOCH_WEEKDAY, SECOND_US
from fsvae.features.sessions import NEVER, is_session_start

LISTEN_FEATURES = ("log_gap", "new_session", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "played_fraction")
REQUEST_FEATURES = LISTEN_FEATURES[:-1]
"""Names of the features of a request: those of a listen but for the played share, which is not known yet."""

_MAX_GAP_S = 28 * 86_400.0


def request_features(at: NDArray[np.int64], previous_at: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return REQUEST_FEATURES for requests (or listens) at `at` [us UTC] after a listen at `previous_at` (or NEVER).

    ``log_gap`` is log(1 + seconds since the previous listen), scaled so that 28 days, the longest gap counted,
    is 1; a user's first listen counts as the longest gap. Hour and weekday are angles on the UTC clock.

    Args:
        at: [...] microseconds since 1970 UTC.
        previous_at: [...] microseconds since 1970 UTC, or `sessions.NEVER`.

    Returns:
        [..., 6] float32.
    """
    gap_s = (at - np.where(previous_at == NEVER, at, previous_at)) / SECOND_US
    gap_s = np.where(previous_at == NEVER, _MAX_GAP_S, np.clip(gap_s, 0.0, _MAX_GAP_S))
    hour = (at % DAY_US) / DAY_US * 2 * np.pi
    weekday = (at // DAY_US + EPOCH_WEEKDAY) % 7 / 7 * 2 * np.pi
    columns = (
        np.log1p(gap_s) / np.log1p(_MAX_GAP_S),
        is_session_start(at, previous_at),
        np.sin(hour),
        np.cos(hour),
        np.sin(weekday),
        np.cos(weekday),
    )
    return np.stack(columns, axis=-1).astype(np.float32)


def listen_features(
    at: NDArray[np.int64], previous_at: NDArray[np.int64], played_fraction: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return LISTEN_FEATURES [..., 7] float32; `played_fraction` is in [0, 1], 1 where the log does not tell."""
    return np.concatenate([request_features(at, previous_at), played_fraction[..., None].astype(np.float32)], axis=-1)
