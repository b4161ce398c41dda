"""Sessions: previous times and starts, to the microsecond."""

from __future__ import annotations

import numpy as np

from fsvae.features.sessions import NEVER, SESSION_GAP_US, is_session_start, previous_times


def test_previous_times_do_not_cross_users_and_skip_users_without_listens() -> None:
    offsets = np.array([0, 0, 3, 3, 4, 6, 6])
    found = previous_times(offsets, np.array([10, 20, 20, 5, 7, 9]))
    assert found.tolist() == [NEVER, 10, 20, NEVER, NEVER, 7]
    assert previous_times(np.array([0, 0]), np.array([], dtype=np.int64)).tolist() == []


def test_a_session_starts_after_more_than_30_minutes() -> None:
    assert SESSION_GAP_US == 30 * 60 * 1_000_000
    previous = np.array([NEVER, 50, 50, 50, 50])
    at = np.array([0, 50, 50 + SESSION_GAP_US - 1, 50 + SESSION_GAP_US, 51 + SESSION_GAP_US])
    assert is_session_start(at, previous).tolist() == [True, False, False, False, True]
