"""Number of different items (tracks or artists) that users listened to in the window, folded over blocks of days.

A listen counts for the snapshots of the days after it, until its user listens to the item again or the listen leaves
the window: so each of a user's items is counted once, by its latest listen.

Shape suffixes: U users, W days of the block and the one after it, P (user, item) pairs of the past, B those of the
block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.features.slow import WINDOW_DAYS

Ints = NDArray[np.int64]

_ITEM_BITS = 32


@dataclass(frozen=True)
class Latest:
    """Latest days on which each user listened to each item."""

    pair_P: Ints
    """[P] user * 2^32 + item, sorted."""
    day_P: Ints
    """[P] days since 1970 UTC."""

    @property
    def users(self) -> Ints:
        """Return the user of each pair, [P]."""
        return self.pair_P >> _ITEM_BITS

    @classmethod
    def nothing(cls) -> Latest:
        """Return the latest days of no users."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none)


@dataclass(frozen=True)
class Distinct:
    """The result of `count_distinct`."""

    items_UW: Ints
    """Number of different items in the window before each day."""
    first_user: Ints
    """Users of the listens that were the first of their user to their item; `first_day` holds their days."""
    first_day: Ints
    latest: Latest
    """Latest days at the end of the block."""


def count_distinct(latest: Latest, user: Ints, item: Ints, day: Ints, users: int, first: int, end: int) -> Distinct:
    """Count the items of listens of the days `first` .. `end` - 1; `latest` holds the past of them.

    Args:
        latest: latest days before `first`.
        user: user of each listen, below `users`.
        item: item of each listen, from 0 to 2^32 - 1.
        day: day of each listen, in days since 1970 UTC.
        users: number of users.
        first: first day of the block.
        end: the day after its last one.
    """
    width = end - first + 1
    day_bits = width.bit_length()
    assert users < 1 << 63 - _ITEM_BITS - day_bits, "a listen's user, item and day fit into one number"
    # Several listens of a user to an item on a day count as one.
    key = np.sort((user << _ITEM_BITS | item) << day_bits | (day - first))
    key = key[np.diff(key, prepend=-1) != 0]
    pair, since = key >> day_bits, key & (1 << day_bits) - 1
    begins = np.diff(pair, prepend=-1) != 0
    ends = np.append(begins[1:], True)[: len(pair)]
    pair_B, since_B, last_B = pair[begins], since[begins], since[ends]
    place_B = np.searchsorted(latest.pair_P, pair_B)
    known_B = np.append(latest.pair_P, -1)[place_B] == pair_B
    known_P, new_B = place_B[known_B], np.flatnonzero(~known_B)

    # A listen counts until its window ends or the item is heard again; one before the block, from the block's start.
    until_P = latest.day_P + (WINDOW_DAYS - first)
    inside_P = until_P >= 0
    until_P[known_P] = np.minimum(until_P[known_P], since_B[known_B])
    owner_P = latest.users
    until = np.minimum(since + WINDOW_DAYS, np.where(ends, width, np.append(since[1:], 0)[: len(pair)]))

    def cells(user: Ints, since: Ints) -> Ints:
        return np.bincount(user * width + since, minlength=users * width).reshape(users, width)

    owner = pair >> _ITEM_BITS
    over, over_P = until + 1 < width, inside_P & (until_P + 1 < width)
    steps_UW = cells(owner, since + 1) - cells(owner[over], until[over] + 1)
    steps_UW -= cells(owner_P[over_P], until_P[over_P] + 1)
    steps_UW[:, 0] += np.bincount(owner_P[inside_P], minlength=users)

    day_P = latest.day_P.copy()
    day_P[known_P] = last_B[known_B] + first
    place = place_B[new_B] + np.arange(len(new_B))
    return Distinct(
        items_UW=np.cumsum(steps_UW, axis=1),
        first_user=pair_B[new_B] >> _ITEM_BITS,
        first_day=since_B[new_B] + first,
        latest=Latest(_insert(latest.pair_P, place, pair_B[new_B]), _insert(day_P, place, last_B[new_B] + first)),
    )


def _insert(values: Ints, place: Ints, new: Ints) -> Ints:
    """Return values with new ones among them, each at its place in the result."""
    result = np.empty(len(values) + len(new), dtype=np.int64)
    old = np.ones(len(result), dtype=np.bool_)
    old[place] = False
    result[old] = values
    result[place] = new
    return result
