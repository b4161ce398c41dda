"""The cache of habits: those of every week of a shard of the users, and the past after the latest weeks.

A file is named by all inputs of its content, so it is never out of date; files that no dataset needs are swept.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from fsvae.features.distinct import Latest
from fsvae.features.habits import Past
from fsvae.features.slow import HABITS
from fsvae.files import fingerprint
from fsvae.prepare.events import Codes, Day, EventCodes, Ints, UserShard
from fsvae.storage import Folder

_FEATURES_VERSION = 3
"""Version of the habits and their files; raise it when either changes, so that older files are not read."""
_WEEK_DAYS = 7
_KEPT_PASTS = 3
"""Number of latest weeks after which the past is kept: late events seldom arrive later than that."""

WeekHabits = tuple[Ints, Ints, NDArray[np.float32]]
"""Snapshots of a week: user [S], day [S], habits [S, len(HABITS)]."""


@dataclass(frozen=True)
class Week:
    """The days of a shard that are folded together."""

    days: list[Day]
    first: int
    end: int
    """The day after the last one [days since 1970 UTC]."""
    key: str
    """Name of the week's habits, from the users and all events up to its end."""


@dataclass
class State:
    """The state of a shard after a week."""

    past: Past = field(default_factory=Past.nothing)
    codes: EventCodes = field(default_factory=EventCodes)


def weeks_of(days: Sequence[Day], users: UserShard, as_of_day: int) -> list[Week]:
    """Cut the days before `as_of_day` into weeks, which begin on Thursdays as 1970 did."""
    days_of: dict[int, list[Day]] = {}
    for day in days:
        days_of.setdefault(day.number // _WEEK_DAYS, []).append(day)
    weeks: list[Week] = []
    slice_of = [users.slice, users.slices] if users.slices > 1 else []
    key = fingerprint([_FEATURES_VERSION, list(HABITS), _WEEK_DAYS, users.buckets, *slice_of])
    for week, its_days in sorted(days_of.items()):
        first, end = week * _WEEK_DAYS, min((week + 1) * _WEEK_DAYS, as_of_day)
        key = fingerprint([key, [(day.number, day.checksum) for day in its_days], end])
        weeks.append(Week(its_days, first, end, key))
    return weeks


class HabitsCache:
    """The files of a shard in the cache of a folder of datasets."""

    def __init__(self, folder: Folder, weeks: list[Week]) -> None:
        """Take the folder and the weeks; nothing is read yet."""
        self._folder = folder
        self._weeks = weeks
        self._with_past = weeks[-_KEPT_PASTS:]

    @property
    def files(self) -> list[str]:
        """Return the names of all files that exist when every week is stored."""
        return [_habits_file(week) for week in self._weeks] + [_past_file(week) for week in self._with_past]

    def resume(self) -> tuple[State, int]:
        """Return the latest stored state, and the number of weeks before it, whose habits are all stored."""
        for done in range(len(self._weeks), len(self._weeks) - len(self._with_past), -1):
            needed = [_past_file(self._weeks[done - 1]), *map(_habits_file, self._weeks[:done])]
            if all(map(self._folder.exists, needed)):
                return self._state(self._weeks[done - 1]), done
        return State(), 0

    def habits(self, week: Week) -> WeekHabits:
        """Return the stored habits of a week."""
        with self._load(_habits_file(week)) as stored:
            return _wide(stored["user"]), _wide(stored["day"]), stored["habits"]

    def store(self, week: Week, habits: WeekHabits, state: State) -> None:
        """Store the habits of a week and, for one of the latest, the state after it."""
        user, day, found = habits
        self._save(_habits_file(week), user=_narrow(user), day=_narrow(day), habits=found)
        if week not in self._with_past:
            return
        past, codes = state.past, state.codes
        self._save(
            _past_file(week),
            first_event=past.first_event_U,
            first_listen=past.first_listen_U,
            last_listen=past.last_listen_U,
            user=_narrow(past.user_G),
            day=_narrow(past.day_G),
            counts=_narrow(past.counts_CG),
            track_pairs=past.tracks.pair_P,
            track_days=_narrow(past.tracks.day_P),
            artist_pairs=past.artists.pair_P,
            artist_days=_narrow(past.artists.day_P),
            users=_to_bytes(codes.users),
            track_ids=_to_bytes(codes.tracks),
            artist_ids=_to_bytes(codes.artists),
        )

    def _state(self, week: Week) -> State:
        with self._load(_past_file(week)) as stored:
            past = Past(
                stored["first_event"],
                stored["first_listen"],
                stored["last_listen"],
                _wide(stored["user"]),
                _wide(stored["day"]),
                stored["counts"].astype(np.int32),
                Latest(stored["track_pairs"], _wide(stored["track_days"])),
                Latest(stored["artist_pairs"], _wide(stored["artist_days"])),
            )
            codes = EventCodes(*(_from_bytes(stored[name]) for name in ("users", "track_ids", "artist_ids")))
        return State(past, codes)

    def _save(self, name: str, **arrays: NDArray[Any]) -> None:
        with self._folder.writing(name) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def _load(self, name: str) -> NpzFile:
        stored: NpzFile = np.load(io.BytesIO(self._folder.read(name)), allow_pickle=False)
        return stored


def _habits_file(week: Week) -> str:
    return f"habits-{week.key}.npz"


def _past_file(week: Week) -> str:
    return f"past-{week.key}.npz"


def _narrow(counts: NDArray[Any]) -> NDArray[Any]:
    """Return numbers from 0 on in the smallest type that holds them, as they are most of the cache."""
    return counts.astype(np.min_scalar_type(counts.max(initial=0)))


def _wide(counts: NDArray[Any]) -> Ints:
    return counts.astype(np.int64)


def _to_bytes(codes: Codes) -> NDArray[np.uint8]:
    sink = pa.BufferOutputStream()
    table = pa.table({"known": codes.known})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _from_bytes(data: NDArray[np.uint8]) -> Codes:
    return Codes(pa.ipc.open_stream(data.tobytes()).read_all()["known"].combine_chunks())
