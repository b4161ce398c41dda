"""The plays of users of the simulated log, day by day.

Two clocks drive every play. The slow one is the user's taste: a few genres, and in each of them favourite artists and
tracks; for some days the user leans to some of these genres, then to others. The fast one is the session: a mood (a
genre) that drifts to neighbouring genres, and an album that plays on. The mood selects among the favourites that the
taste provides. Some sessions begin with a genre of the leaning, which recent listens reveal, and others with any genre
of the taste that suits the hour, which only a long memory reveals. Where users have libraries (`library.Library`), a
third clock lies between the two: for weeks a user returns to a few stretches of what was found lately or long ago.

All users of a block move in lockstep: everybody's first play of the day, then the second, and so on. The state is
bounded for each user, so memory grows with users and with the events of one day, never with the days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date

import numpy as np

from pipelines.simulation.choice import Chooser
from pipelines.simulation.draws import Bools, Floats, Ints, draw_columns
from pipelines.simulation.schedule import Schedule, draw_schedule
from pipelines.simulation.simulate_config import SimulateConfig
from pipelines.simulation.simulated_events import (
    ALBUM,
    CONTEXTS,
    DAY_MS,
    HOUR_MS,
    LIBRARY,
    LIKE,
    LISTEN,
    RADIO,
    SAVE,
    SKIP,
    Events,
)
from pipelines.simulation.users import Users
from pipelines.simulation.world import HOURS, World

LEANING_DAYS = 5.0
"""Mean days before a user's leaning turns to other genres of the same taste."""
LEANING_SHAPE = 0.2
"""Shape of the gamma weight of each genre in a leaning: the smaller, the fewer genres at a time."""
LISTENED_TO_END = 0.85
SAVED = 0.006
LIKED, LIKED_LIBRARY = 0.03, 0.004
"""Chance that a listen is liked, and that one from the library is, where much is liked already."""
GROWS_DEAR = 0.015
"""Chance that a listen, neither liked nor saved, makes its track a favourite, as likes and saves do."""
STAYS = 0.02
"""Chance that a listen from the radio begins a spell, where users have spells."""
SKIPPED, SKIPPED_STRANGER, SKIPPED_OFF_MOOD = 0.03, 0.08, 0.35
"""Chance of a skip, and its increase for an artist that is no favourite and for a genre that misses the mood."""

# Tables in place of conditions: by whether the genre misses the mood, and by context.
_ANNOYANCE = np.array([SKIPPED, SKIPPED + SKIPPED_OFF_MOOD], np.float32)
_LIKED = np.array([LIKED_LIBRARY if context == LIBRARY else LIKED for context in range(len(CONTEXTS))], np.float32)
assert (LISTEN, SKIP) == (0, 1), "a skip as a truth value is its kind"


@dataclass
class Lanes:
    """The users who play on this day; see `schedule.Schedule` for the order of the rows."""

    user: Ints
    clock: Ints
    """Begin of the next play [ms since the log's first midnight]."""
    mood: Ints
    """Genre that the user wants now."""
    last: Ints
    """Previous track in this session, or -1."""
    in_album: Bools
    place: Ints
    """Place of the previous track on the user's list of favourites of the mood, or -1."""
    position: Ints
    """Position of the previous track in the user's library if it came from there, or -1."""

    def top(self, count: int) -> Lanes:
        """Return views of the first lanes: writes to them change this object."""
        return Lanes(*(getattr(self, field.name)[:count] for field in fields(self)))


class Listening:
    """The generator for a block of users: call `day` for day 0, 1, 2, ... in that order."""

    def __init__(self, world: World, users: Users, config: SimulateConfig, first_user: int) -> None:
        self.world = world
        self.first_user = np.int32(first_user)
        self.users = users
        self.config = config
        self.first_weekday = date.fromisoformat(config.start).weekday()
        self.hours = np.cumsum(users.hours, axis=1)
        self.chooser = Chooser(world, users, config)
        self.last_end = np.full(len(users.joined), -DAY_MS)
        self.leaning = users.taste.copy()

    def day(self, day: int, available: Floats, seed: np.random.SeedSequence) -> Iterator[Events]:
        """Yield all events of the sessions that begin on `day`, in no order; some are past midnight.

        Args:
            day: counted from 0.
            available: `World.available` of the day.
            seed: seed of the day and this block.
        """
        rng = np.random.default_rng(seed)
        # At times a user's leaning turns to other genres of the same taste, so that old favourites come back.
        turned = np.flatnonzero((rng.random(len(self.leaning)) < 1.0 / LEANING_DAYS) | (day == 0))
        weight = 0.02 + rng.standard_gamma(LEANING_SHAPE, (len(turned), self.leaning.shape[1]), np.float32)
        self.leaning[turned] = self.users.taste[turned] * weight
        if self.chooser.library:
            self.chooser.library.turn(rng)
        weekday = (self.first_weekday + day) % 7
        schedule = draw_schedule(rng, self.users, self.hours, day, weekday, self.config)
        yield from self._play(rng, available, schedule)

    def _play(self, rng: np.random.Generator, available: Floats, schedule: Schedule) -> Iterator[Events]:
        count = len(schedule.user)
        lanes = Lanes(
            user=schedule.user,
            clock=self.last_end[schedule.user],
            mood=np.zeros(count, np.int64),
            last=np.full(count, -1),
            in_album=np.zeros(count, np.bool_),
            place=np.full(count, -1),
            position=np.full(count, -1),
        )
        playing, begins = schedule.steps()
        for step, active in enumerate(playing.tolist()):
            self._begin(rng, lanes, schedule, slice(begins[step], begins[step + 1]))
            yield from self._step(rng, available, lanes.top(active))
        self.last_end[lanes.user] = lanes.clock

    def _begin(self, rng: np.random.Generator, lanes: Lanes, schedule: Schedule, sessions: slice) -> None:
        """Begin sessions: a time, and a first mood that suits the hour."""
        lane = schedule.lane[sessions]
        start = np.maximum(schedule.planned[sessions], lanes.clock[lane] + schedule.pause[sessions])
        user = lanes.user[lane]
        afresh = rng.random((len(lane), 1)) < self.config.fresh_starts
        wanted = np.where(afresh, self.users.taste[user], self.leaning[user])
        lanes.mood[lane] = draw_columns(rng, wanted * self.world.hour_genre[start // HOUR_MS % HOURS])
        lanes.clock[lane], lanes.last[lane], lanes.in_album[lane] = start, -1, False
        lanes.place[lane] = lanes.position[lane] = -1

    def _step(self, rng: np.random.Generator, available: Floats, now: Lanes) -> Iterator[Events]:
        """Play once in every lane: drift, choose, listen or skip, perhaps like or save, remember."""
        count, user = len(now.user), now.user
        roll = rng.random((6, count), np.float32)
        moved = np.flatnonzero((roll[0] < self.config.drift) & (now.last >= 0))
        pull = self.world.genre_near[now.mood[moved]] * (self.leaning[user[moved]] + 0.001)
        now.mood[moved] = draw_columns(rng, pull)
        now.in_album[moved], now.place[moved], now.position[moved] = False, -1, -1
        choice = self.chooser.choose(
            rng, available, roll[1], user, now.mood, now.last, now.in_album, now.place, now.position
        )
        track, context, strange = choice.track, choice.context, choice.strangers

        annoyance = _ANNOYANCE.take(self.world.track_genre.take(track) != now.mood)
        annoyance[strange] += SKIPPED_STRANGER
        skipped = roll[2] < annoyance * self.users.impatience.take(user)
        length = self.world.track_ms.take(track)
        cut = np.flatnonzero(roll[3] > LISTENED_TO_END)
        length[cut] = length[cut] * (1.0 - (roll[3][cut] - LISTENED_TO_END) / (2.0 - 2.0 * LISTENED_TO_END))
        skips = np.flatnonzero(skipped)
        length[skips] = 2_000 + 28_000 * roll[3][skips]
        who, end = user.astype(np.int32) + self.first_user, now.clock + length
        gap = (500 + 3_500 * roll[4]).astype(np.int32)
        yield Events(who, track.astype(np.int32), now.clock.copy(), skipped.astype(np.int8), length, context)

        # A listen has at most one of three effects: it is liked, it is saved, or its track becomes a favourite.
        dear = np.flatnonzero(roll[5] < LIKED + SAVED + GROWS_DEAR)
        dear = dear[~skipped[dear] & ((roll[5][dear] > LIKED) | (roll[5][dear] < _LIKED.take(context[dear])))]
        love = roll[5][dear]
        for rows, kind in ((dear[love < LIKED], LIKE), (dear[(love >= LIKED) & (love < LIKED + SAVED)], SAVE)):
            kinds, nothing = np.full(len(rows), kind, np.int8), np.full(len(rows), -1, np.int32)
            yield Events(who[rows], track[rows], end[rows] + gap[rows] // 2, kinds, nothing, context[rows])
        self.chooser.remember(user, track, ~skipped)
        self.chooser.grow_dear(rng, user[dear], track[dear])
        if self.chooser.library:
            found = np.flatnonzero((context != LIBRARY) & ~skipped)
            self.chooser.library.add(user[found], track[found])
            stays = found[(context[found] == RADIO) & (rng.random(len(found), np.float32) < STAYS)]
            self.chooser.library.begin_spells(rng, user[stays])
        if self.config.library.adoption:
            met = np.intersect1d(dear, strange)
            met = met[rng.random(len(met), np.float32) < self.config.library.adoption]
            self.chooser.adopt(rng, user[met], track[met])

        now.last[:], now.in_album[:] = track, context == ALBUM
        now.place[:], now.position[:] = choice.place, choice.position
        now.clock[:] = end + gap
