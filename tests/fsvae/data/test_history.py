"""What came before each position, written down by hand."""

from __future__ import annotations

import numpy as np
from tiny_dataset import FIRST_DAY, dataset_of, unit_vectors

from fsvae.data.history import (
    NO_KEY,
    Occurrences,
    blocks,
    joint_key,
    session_begins,
    tracks_before,
)
from fsvae.data.listens import Listens
from fsvae.features.clock import DAY_US

MINUTE_US = 60 * 1_000_000
START = FIRST_DAY * DAY_US


def listens() -> Listens:
    """Two users; a pause of 31 minutes before the third listen of the first, one of 30 before that of the second."""
    first = [(5, START), (6, START + MINUTE_US), (5, START + 32 * MINUTE_US)]
    second = [(6, START), (6, START + MINUTE_US), (7, START + 31 * MINUTE_US)]
    return dataset_of({"a": first, "b": second}, unit_vectors(8, 2), START, START).listens


def test_occurrences_before_a_position_come_latest_first() -> None:
    occurrences = Occurrences(np.array([3, 8, 3, 3, 8, 3]))
    earlier = occurrences.before(np.array([0, 4, 5]), at_most=2)  # of 3 before position 5: 0, 2, 3
    assert earlier.row.tolist() == [1, 2, 2]
    assert earlier.position.tolist() == [1, 3, 2]
    assert earlier.age.tolist() == [0, 0, 1]


def test_positions_without_a_key_have_no_past() -> None:
    earlier = Occurrences(np.array([NO_KEY, NO_KEY, 1])).before(np.array([0, 1, 2]), at_most=5)
    assert len(earlier.row) == 0


def test_tracks_before_stay_within_the_user() -> None:
    assert tracks_before(listens(), 1).tolist() == [NO_KEY, 5, 6, NO_KEY, 6, 6]
    assert tracks_before(listens(), 2).tolist() == [NO_KEY, NO_KEY, 5, NO_KEY, NO_KEY, 6]
    assert tracks_before(listens(), 3).tolist() == [NO_KEY] * 6


def test_joint_keys_are_equal_where_both_are() -> None:
    first, second = np.array([0, 0, 1, 0, NO_KEY, 0]), np.array([1, 2, 1, 1, 1, NO_KEY])
    assert joint_key(first, second).tolist() == [0, 1, 2, 0, NO_KEY, NO_KEY]


def test_sessions_begin_after_more_than_thirty_minutes() -> None:
    assert session_begins(listens()).tolist() == [0, 0, 2, 3, 3, 3]


def test_targets_are_the_listens_of_a_half_open_span() -> None:
    assert listens().between(START + MINUTE_US, START + 32 * MINUTE_US).tolist() == [1, 4, 5]


def test_blocks_hold_at_most_128_mib_of_scores() -> None:
    targets = np.arange(1_000)
    assert [len(block) for block in blocks(targets, 60_000, at_most=900)] == [559, 441]  # 2^25 // 60 000
    assert [len(block) for block in blocks(targets, 100, at_most=900)] == [900, 100]
    assert [len(block) for block in blocks(targets[:2], 1 << 26, at_most=900)] == [1, 1]
    np.testing.assert_array_equal(np.concatenate(list(blocks(targets, 60_000, 900))), targets)
