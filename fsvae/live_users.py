"""Users as they are now: the bundle's states, and one model step for each listen that came since.

A user's state is kept and goes on from the last listen that it has read. One that comes late, before a listen that was
read, makes it anew in order of time, from an earlier state or the bundle's: so it is that of an evaluation of the same
listens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.features.clock import DAY_US
from fsvae.models.online_state import UserState, new_user, update

_CHECKPOINT = 64
"""Number of listens after which a state is kept for one that comes late; the last two such states are."""
_MOST_USERS = 100_000
"""Number of users whose states are kept, those asked for last."""


class LiveListen(NamedTuple):
    """A listen that came after the bundle was made."""

    sequence: int
    """Number in the order in which they came; ascending."""
    track_id: str
    played_at: int
    """Time of the listen [us since 1970 UTC]."""
    played_fraction: float


@dataclass(frozen=True)
class LiveUser:
    """A user as of the last listen that came."""

    state: UserState
    listens: tuple[LiveListen, ...]
    """Those later than the bundle's last listen of the user, in order of time."""
    sequence: int
    """Number of the last listen that was read, even one that is not later than the bundle's."""
    checkpoints: tuple[tuple[int, UserState], ...] = ()
    """Numbers of the first of these listens and the states after them."""


class LiveUsers:
    """The users of a bundle and those who came since."""

    def __init__(
        self, bundle: Bundle, index: Mapping[str, int], came: Callable[[str, int], Sequence[LiveListen]]
    ) -> None:
        """Take the bundle.

        Args:
            bundle: model, and states of its users.
            index: track index of each id of the bundle.
            came: function from a user and a sequence number to the user's listens that came after it.
        """
        self._bundle, self._index, self._came = bundle, index, came
        self._users: OrderedDict[str, LiveUser] = OrderedDict()
        self._snapshots: dict[str, tuple[tuple[int, int], NDArray[np.float32] | None]] = {}
        """User → day, number of listens before it, and the slow snapshot that was made of them last."""

    def user(self, user_id: str) -> LiveUser | None:
        """Return a user after all listens that have come, or None where neither bundle nor listens know the user."""
        found = self._users.pop(user_id, None)
        came = self._came(user_id, 0 if found is None else found.sequence)
        if found is None:
            found = LiveUser(self._base(user_id), (), 0)
        if came:
            found = self._after(user_id, found, came)
        if not found.sequence:
            return found if user_id in self._bundle else None
        self._users[user_id] = found
        if len(self._users) > _MOST_USERS:
            self._snapshots.pop(self._users.popitem(last=False)[0], None)
        return found

    def slow(self, user_id: str, at: int) -> NDArray[np.float32] | None:
        """Return the slow snapshot of a user, after `user`, for a request at a time [us]; None: nothing was heard yet.

        It is the one that an evaluation would read for a listen at that time: that as of 00:00 UTC of its day.
        """
        found, day = self._users.get(user_id), at // DAY_US
        if found is None or not found.listens or found.listens[0].played_at >= day * DAY_US:
            return self._bundle.slow(user_id, at)
        played_at = np.array([listen.played_at for listen in found.listens])
        made_of = day, int(np.searchsorted(played_at, day * DAY_US))
        kept = self._snapshots.get(user_id)
        if kept is None or kept[0] != made_of:
            tracks = self.tracks([listen.track_id for listen in found.listens])
            made = self._bundle.live_snapshot(user_id, tracks, played_at, day)
            kept = self._snapshots[user_id] = made_of, made
        return kept[1]

    def tracks(self, track_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the index of each of a user's tracks; those that are not known are numbered on, as they come."""
        unknown = dict.fromkeys(track_id for track_id in track_ids if track_id not in self._index)
        index = {track_id: len(self._index) + place for place, track_id in enumerate(unknown)}
        return np.array([self._index.get(one, index.get(one, -1)) for one in track_ids], dtype=np.int32)

    def _base(self, user_id: str) -> UserState:
        return self._bundle.state(user_id) or new_user(self._bundle.model)

    def _after(self, user_id: str, found: LiveUser, came: Sequence[LiveListen]) -> LiveUser:
        base = self._base(user_id)
        # the bundle's state cannot be told of listens before its last one
        later = sorted((one for one in came if one.played_at > base.last_played_at), key=_time)
        if not later:
            return replace(found, sequence=came[-1].sequence)
        states = [(0, base), *found.checkpoints, (len(found.listens), found.state)]
        before = [one for one in states if one[1].last_played_at <= later[0].played_at]
        read, state = before[-1]
        listens = sorted((*found.listens, *later), key=_time)
        kept = before[1 : len(before) - (len(before) == len(states))]
        tracks = self.tracks([listen.track_id for listen in listens]).tolist()
        for place in range(read, len(listens)):
            listen = listens[place]
            state = update(
                self._bundle.model, state, tracks[place], listen.played_at, listen.played_fraction, self._bundle.shared
            )
            if (place + 1) % _CHECKPOINT == 0:
                kept = [*kept[-1:], (place + 1, state)]
        return LiveUser(state, tuple(listens), came[-1].sequence, tuple(kept))


def _time(listen: LiveListen) -> tuple[int, int]:
    return listen.played_at, listen.sequence
