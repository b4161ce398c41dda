"""The schedule of the simulated log: the sessions that users begin on a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.draws import Bools, Floats, Ints
from pipelines.simulation.simulate_config import MAX_PLAYS, MAX_SESSIONS, SimulateConfig
from pipelines.simulation.simulated_events import DAY_MS, HOUR_MS, MINUTE_MS
from pipelines.simulation.users import Users

MAX_DAY_PLAYS = 240
"""Largest number of plays in a user's sessions of a day. They last 14 hours at the mean length of a track, and their
pauses less than 8, so that the days of a user hardly overlap."""
PAUSE_MS = (30 * MINUTE_MS, 60 * MINUTE_MS)
"""Shortest and longest pause before a session that had to wait for the end of the one before."""


@dataclass(frozen=True)
class Schedule:
    """The sessions of one day. A lane is a user with a session; lanes with the most plays come first."""

    user: Ints
    """[lane] user of the lane."""
    plays: Ints
    """[lane] number of plays of the day, descending."""
    lane: Ints
    """[session] lane of the session, in order of `first`."""
    first: Ints
    """[session] number of the lane's play, from 0, with which the session begins."""
    planned: Ints
    """[session] planned begin, unless the session before is still on [ms since the log's first midnight]."""
    pause: Ints
    """[session] least time after the end of the session before [ms]."""

    def steps(self) -> tuple[Ints, Ints]:
        """Return the number of playing lanes of each step, and where its sessions begin (one entry more than steps)."""
        steps = int(self.plays[0]) if len(self.plays) else 0
        lanes = np.searchsorted(-self.plays, -np.arange(steps))
        return lanes, np.searchsorted(self.first, np.arange(steps + 1))


def draw_schedule(
    rng: np.random.Generator, users: Users, hours: Floats, day: int, weekday: int, config: SimulateConfig
) -> Schedule:
    """Draw users, begins and lengths of the sessions of `day`; `hours` are the cumulative shares of `users.hours`."""
    rate = np.where(users.joined <= day, users.activity * users.weekdays[:, weekday], 0.0)
    counts = np.minimum(rng.poisson(rate), MAX_SESSIONS)
    user = np.repeat(np.arange(len(counts)), counts)
    hour = np.minimum((rng.random((len(user), 1)) * hours[user, -1:] >= hours[user]).sum(axis=1), 23)
    start = hour * HOUR_MS + rng.integers(0, HOUR_MS, len(user))
    # A user's sessions in order of time: users ascend already, and a time of day is below 2^32.
    start = np.sort(user << 32 | start) & 0xFFFFFFFF
    plays = _draw_plays(rng, config, len(user))
    before = _sums_before(plays, counts)
    plays = np.clip(MAX_DAY_PLAYS - before, 0, plays)
    return _in_lanes(rng, user, day * DAY_MS + start, plays, plays > 0)


def _draw_plays(rng: np.random.Generator, config: SimulateConfig, count: int) -> Ints:
    """Draw the numbers of plays of sessions: log-normal, rounded, at least one."""
    spread = config.session_spread
    plays = config.plays_per_session * rng.lognormal(-(spread**2) / 2, spread, count)
    return np.clip(np.rint(plays), 1, MAX_PLAYS).astype(np.int64)


def _in_lanes(rng: np.random.Generator, user: Ints, planned: Ints, plays: Ints, kept: Bools) -> Schedule:
    user, planned, plays = user[kept], planned[kept], plays[kept]
    who, sessions = np.unique(user, return_counts=True)
    first = _sums_before(plays, sessions)
    ends = np.cumsum(sessions) - 1
    total = first[ends] + plays[ends]
    order = np.argsort(-total, kind="stable")
    lane_of = np.empty(len(who), np.int64)
    lane_of[order] = np.arange(len(who))
    lane = np.repeat(lane_of, sessions)
    by_first = np.argsort(first, kind="stable")
    pause = rng.integers(*PAUSE_MS, len(plays))
    return Schedule(who[order], total[order], lane[by_first], first[by_first], planned[by_first], pause)


def _sums_before(values: Ints, counts: Ints) -> Ints:
    """Return the sum of the values before each, within runs of `counts` values."""
    before = np.cumsum(values) - values
    starts = np.cumsum(counts) - counts
    return np.asarray(before - np.repeat(before[starts[counts > 0]], counts[counts > 0]))
