"""Distinct items in the window: two users on three days, worked out by hand, after a past and at the window's edge."""

from __future__ import annotations

import numpy as np

from fsvae.features.distinct import Latest, count_distinct

DAY = 20_000
PAIR = 1 << 32
"""The pair of user 1 and item 0."""

# User 0 heard item 5 on the last day that the window of DAY has, and item 6 a day before it; user 1 item 5 yesterday.
PAST = Latest(np.array([5, 6, PAIR + 5]), np.array([DAY - 28, DAY - 29, DAY - 1]))

# user, item, day: item 6 is not new to user 0, though it has left the window; nobody heard item 2 before.
LISTENS = [(1, 5, 1), (0, 6, 0), (0, 2, 2), (0, 2, 0), (1, 2, 2), (0, 2, 0)]


def test_items_count_from_the_day_behind_a_listen_until_28_days_are_over() -> None:
    user, item, day = np.array(LISTENS).T
    found = count_distinct(PAST, user, item, day + DAY, users=2, first=DAY, end=DAY + 3)
    # User 0: {5}, then {6, 2}, which item 5 has left, twice more. User 1: {5} throughout, at last {5, 2}.
    assert found.items_UW.tolist() == [[1, 2, 2, 2], [1, 1, 1, 2]]
    assert list(zip(found.first_user.tolist(), found.first_day.tolist(), strict=True)) == [(0, DAY), (1, DAY + 2)]
    assert found.latest.pair_P.tolist() == [2, 5, 6, PAIR + 2, PAIR + 5]
    assert found.latest.day_P.tolist() == [DAY + 2, DAY - 28, DAY, DAY + 2, DAY + 1]


def test_a_block_without_listens_counts_the_past_until_it_is_over() -> None:
    none = np.zeros(0, dtype=np.int64)
    found = count_distinct(PAST, none, none, none, users=3, first=DAY, end=DAY + 28)
    assert found.items_UW[0].tolist() == [1] + [0] * 28
    assert found.items_UW[1].tolist() == [1] * 28 + [0]
    assert found.items_UW[2].tolist() == [0] * 29
    assert (found.latest.pair_P == PAST.pair_P).all() and (found.latest.day_P == PAST.day_P).all()
    assert count_distinct(Latest.nothing(), none, none, none, 1, DAY, DAY).items_UW.tolist() == [[0]]
