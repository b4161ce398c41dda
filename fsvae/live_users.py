"""Users as they are now: the bundle's states, and one model step for each listen that came since.

A user's state is kept and goes on from the last listen that it has read. One that comes late, before a listen that was
read, makes it anew in order of time, from an earlier state or the bundle's: so it is that of an evaluation of the same
listens. Skips, likes and saves count in slow snapshots, as there. What a user disliked is kept apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.features.clock import DAY_US
from fsvae.kinds import KINDS
from fsvae.models.online_state import UNKNOWN, NewListens, UserState, new_user, update

_CHECKPOINT = 64
"""Number of listens after which a state is kept for one that comes late; the last two such states are."""
_MOST_LISTENS = 20_000_000
"""Number of listens in the histories of the users whose states are kept, those asked for last, about."""
_STATE_LISTENS = 300
"""Number of listens that take as much memory as the rest of a state."""


ERASED = "erased"
"""Kind of an event that says: everything of this user up to its time is to be forgotten."""
_NEVER_ERASED = np.iinfo(np.int64).min


class LiveEvent(NamedTuple):
    """An event that came after the bundle was made."""

    sequence: int
    """Number in the order in which they came; ascending."""
    track_id: str
    played_at: int
    """Time of the event [us since 1970 UTC]."""
    played_fraction: float = 1.0
    kind: str = "listen"
    """One of `fsvae.kinds.KINDS`, or ERASED."""


@dataclass(frozen=True)
class LiveUser:
    """A user as of the last event that came."""

    state: UserState
    listens: tuple[LiveEvent, ...] = ()
    """Those later than the bundle's last listen of the user, in order of time."""
    others: tuple[LiveEvent, ...] = ()
    """Events that are no listens, in order of time."""
    sequence: int = 0
    """Number of the last event that was read, even one that is not later than the bundle's."""
    checkpoints: tuple[tuple[int, UserState], ...] = ()
    """Numbers of the first of these listens and the states after them."""
    erased_until: int = _NEVER_ERASED
    """Time [us] up to which everything of the user is forgotten, what the bundle holds too."""

    @property
    def known(self) -> bool:
        """Return whether anything was heard."""
        return self.state.n_listens > 0

    def now_said(self, yes: str, no: str) -> list[str]:
        """Return the tracks of which the latest event of two kinds is `yes`, in order of time."""
        said = {one.track_id: one.kind for one in self.others if one.kind in (yes, no)}
        return [track_id for track_id, kind in said.items() if kind == yes]

    @cached_property
    def disliked(self) -> list[str]:
        """Return the tracks that the user dislikes."""
        return self.now_said("dislike", "undislike")


class _Came(NamedTuple):
    """What came of a user that slow snapshots count."""

    played_at: NDArray[np.int64]
    """Times of all listens [us], ascending."""
    heard: int
    """Number of those before the day of a snapshot."""
    others: list[LiveEvent]
    """Events before that day that are no listens."""


class LiveUsers:
    """The users of a bundle and those who came since."""

    def __init__(
        self, bundle: Bundle, index: Mapping[str, int], came: Callable[[str, int], Sequence[LiveEvent]]
    ) -> None:
        """Take the bundle.

        Args:
            bundle: model, and states of its users.
            index: track index of each id that is known; it may grow.
            came: function from a user and a sequence number to the user's events that came after it.
        """
        self._bundle, self._index, self._came = bundle, index, came
        self._users: OrderedDict[str, LiveUser] = OrderedDict()
        self._listens = 0
        """Sum of the sizes of the users who are kept."""
        self.reads = [0, 0]
        """Number of reads of users whose state was kept, and of others."""
        self._snapshots: dict[str, tuple[tuple[int, int, int], NDArray[np.float32] | None]] = {}
        """User → day, numbers of listens and others before it, and the slow snapshot that was made of them last."""

    @property
    def kept(self) -> list[str]:
        """Return the users whose states are kept, those asked for last at the end."""
        return list(self._users)

    @property
    def nobody(self) -> UserState:
        """Return the state of a user without a listen."""
        return new_user(self._bundle.model)

    def take(self, bundle: Bundle, new: Container[str]) -> None:
        """Go on with the same bundle, in which some tracks are new; states of who had heard them are made anew."""
        self._bundle = bundle
        for user_id in [name for name, one in self._users.items() if any(it.track_id in new for it in one.listens)]:
            self._listens -= _size(self._users.pop(user_id))
            self._snapshots.pop(user_id, None)

    def heard(self, user_id: str) -> NDArray[np.int32]:
        """Return all tracks that a user has heard, in order of time, after `user`."""
        found = self._users.get(user_id)
        if found is None:
            return self._bundle.heard(user_id)
        live = self.tracks([one.track_id for one in found.listens])
        return live if found.erased_until != _NEVER_ERASED else np.append(self._bundle.heard(user_id), live)

    def user(self, user_id: str) -> LiveUser:
        """Return a user after all events that have come."""
        return self.users([user_id])[0]

    def users(self, user_ids: Sequence[str]) -> list[LiveUser]:
        """Return some users after all events that have come; their new listens are read together."""
        reading: dict[str, _Reading] = {}
        for user_id in user_ids:
            if user_id not in reading:
                kept = self._users.get(user_id)
                self.reads[kept is None] += 1
                found = self._new(user_id) if kept is None else kept
                reading[user_id] = self._begun(user_id, found, self._came(user_id, found.sequence))
        self._read(list(reading.values()))
        found_of = {user_id: one.ended() for user_id, one in reading.items()}
        for user_id, found in found_of.items():
            self._keep(user_id, found)
        return [found_of[user_id] for user_id in user_ids]

    def before(self, asked: Sequence[tuple[str, int]]) -> list[LiveUser | None]:
        """Return some users, each after the events below a sequence number; None where a later one was read already.

        No user may be asked for twice.
        """
        reading: list[_Reading | None] = []
        for user_id, sequence in asked:
            kept = self._users.get(user_id)
            found = self._new(user_id) if kept is None else kept
            if found.sequence >= sequence:
                reading.append(None)
                continue
            came = [one for one in self._came(user_id, found.sequence) if one.sequence < sequence]
            reading.append(self._begun(user_id, found, came))
        self._read([one for one in reading if one is not None])
        found_of = [None if one is None else one.ended() for one in reading]
        for (user_id, _), one in zip(asked, found_of, strict=True):
            if one is not None:
                self._keep(user_id, one)
        return found_of

    def _new(self, user_id: str) -> LiveUser:
        return LiveUser(self._base(user_id, _NEVER_ERASED))

    def _keep(self, user_id: str, found: LiveUser) -> None:
        if not found.sequence:
            return
        self._listens += _size(found) - (_size(self._users[user_id]) if user_id in self._users else 0)
        self._users[user_id] = found
        self._users.move_to_end(user_id)
        while self._listens > _MOST_LISTENS and len(self._users) > 1:
            gone, one = self._users.popitem(last=False)
            self._listens -= _size(one)
            self._snapshots.pop(gone, None)

    def slow(self, asked: Sequence[tuple[str, LiveUser, int]]) -> list[NDArray[np.float32] | None]:
        """Return the slow snapshots of some users, as `users` gave them, for a request of each at a time [us].

        A snapshot is the one that an evaluation would read for a listen at that time: that as of 00:00 UTC of its day.

        Returns:
            None for a user who has heard nothing.
        """
        came = [self._came_before(*one) for one in asked]
        same = [(user_id, at) for (user_id, _, at), since in zip(asked, came, strict=True) if since is None]
        as_known = iter(self._bundle.slow([user_id for user_id, _ in same], [at for _, at in same]))
        return [
            next(as_known) if since is None else self._snapshot(user_id, found, at // DAY_US, since)
            for (user_id, found, at), since in zip(asked, came, strict=True)
        ]

    def _came_before(self, user_id: str, found: LiveUser, at: int) -> _Came | None:
        """Return what came of a user before the day of a time; None where the bundle knows all that counts."""
        begin = at // DAY_US * DAY_US
        erased = found.erased_until != _NEVER_ERASED
        # the bundle counts those of the days of its dataset, of which the endpoint was told, too
        known_until = _NEVER_ERASED if erased or user_id not in self._bundle else self._bundle.until
        others = [one for one in found.others if known_until <= one.played_at < begin]
        played_at = np.array([listen.played_at for listen in found.listens], dtype=np.int64)
        came = _Came(played_at, int(np.searchsorted(played_at, begin)), others)
        return came if erased or came.heard or others else None

    def _snapshot(self, user_id: str, found: LiveUser, day: int, came: _Came) -> NDArray[np.float32] | None:
        """Return the slow snapshot of a user for whom something came."""
        made_of = day, came.heard, len(came.others)
        kept = self._snapshots.get(user_id)
        if kept is None or kept[0] != made_of:
            tracks = self.tracks([listen.track_id for listen in found.listens])
            kind = np.array([KINDS.index(one.kind) for one in came.others], dtype=np.int8)
            other = kind, np.array([one.played_at for one in came.others], dtype=np.int64)
            name = None if found.erased_until != _NEVER_ERASED else user_id
            made = self._bundle.live_snapshot(name, tracks, came.played_at, day, other)
            kept = self._snapshots[user_id] = made_of, made
        return kept[1]

    def tracks(self, track_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the index of each of a user's tracks; those that are not known are numbered from UNKNOWN on."""
        index = [self._index.get(track_id, -1) for track_id in track_ids]
        if -1 in index:
            unknown = dict.fromkeys(track_id for track_id in track_ids if track_id not in self._index)
            number = {track_id: UNKNOWN + place for place, track_id in enumerate(unknown)}
            index = [number.get(one, place) for one, place in zip(track_ids, index, strict=True)]
        return np.array(index, dtype=np.int32)

    def _base(self, user_id: str, erased_until: int) -> UserState:
        """Return the state in the bundle, unless it is forgotten."""
        known = self._bundle.state(user_id)
        return new_user(self._bundle.model) if known is None or known.last_played_at <= erased_until else known

    def _begun(self, user_id: str, found: LiveUser, came: Sequence[LiveEvent]) -> _Reading:
        """Return a user who is about to read some events."""
        erased = [place for place, one in enumerate(came) if one.kind == ERASED]
        if erased:
            until = came[erased[-1]].played_at
            base = self._base(user_id, until)
            # a bundle made since then holds what was heard after it
            forgotten = until if not base.n_listens else _NEVER_ERASED
            found = LiveUser(base, sequence=came[erased[-1]].sequence, erased_until=forgotten)
            self._snapshots.pop(user_id, None)
            came = came[erased[-1] + 1 :]
        if not came:
            return _Reading(found, len(found.listens), [], [])
        sequence = came[-1].sequence
        base = self._base(user_id, found.erased_until)
        others = sorted((*found.others, *(one for one in came if one.kind != "listen")), key=_time)
        # the bundle's state cannot be told of listens before its last one
        later = sorted((one for one in came if one.kind == "listen" and one.played_at > base.last_played_at), key=_time)
        if not later:
            return _Reading(replace(found, others=tuple(others), sequence=sequence), len(found.listens), [], [])
        states = [(0, base), *found.checkpoints, (len(found.listens), found.state)]
        before = [one for one in states if one[1].last_played_at <= later[0].played_at]
        read, state = before[-1]
        listens = sorted((*found.listens, *later), key=_time)
        kept = before[1 : len(before) - (len(before) == len(states))]
        began = LiveUser(state, tuple(listens), tuple(others), sequence, (), found.erased_until)
        return _Reading(began, read, self.tracks([listen.track_id for listen in listens]).tolist(), kept)

    def _read(self, users: Sequence[_Reading]) -> None:
        """Make users read what they have not read yet, together."""
        while unread := [one for one in users if one.read < len(one.user.listens)]:
            new = [one.next() for one in unread]
            states = update(self._bundle.model, [one.user.state for one in unread], new, self._bundle.shared)
            for one, listens, state in zip(unread, new, states, strict=True):
                one.go_on(len(listens.track), state)


@dataclass
class _Reading:
    """A user on the way to a new state."""

    user: LiveUser
    """The user with all listens and the state so far."""
    read: int
    """Number of the listens that the state has read."""
    tracks: list[int]
    """Track index of each listen."""
    kept: list[tuple[int, UserState]]
    """Checkpoints so far."""

    def next(self) -> NewListens:
        """Return the listens up to the next checkpoint."""
        listens = self.user.listens[self.read : (self.read // _CHECKPOINT + 1) * _CHECKPOINT]
        times, fractions = [one.played_at for one in listens], [one.played_fraction for one in listens]
        return NewListens(self.tracks[self.read : self.read + len(listens)], times, fractions)

    def go_on(self, listens: int, state: UserState) -> None:
        """Take the state after some more listens."""
        self.read += listens
        self.user = replace(self.user, state=state)
        if self.read % _CHECKPOINT == 0:
            self.kept = [*self.kept[-1:], (self.read, state)]

    def ended(self) -> LiveUser:
        """Return the user who has read everything."""
        return replace(self.user, checkpoints=tuple(self.kept)) if self.tracks else self.user


def _size(user: LiveUser) -> int:
    """Return how much memory a user takes, in listens."""
    states = (user.state, *(state for _, state in user.checkpoints))
    return sum(len(state.heard.track) + _STATE_LISTENS for state in states)


def _time(event: LiveEvent) -> tuple[int, int]:
    return event.played_at, event.sequence
