"""Who listens when in the simulated log, and to what: the users' sessions, day by day.

Two clocks drive every play. The slow one is the user's taste: a few genres, and in each of them favourite artists and
tracks; for some days the user leans to some of these genres, then to others. The fast one is the session: a mood (a
genre) that drifts to neighbouring genres, and an album that plays on. The mood says which favourites are due; only the
taste says which favourites there are.

All users move in lockstep: the first play of everybody's first session of the day, then the second, and so on. The
state is bounded for each user, so memory grows with users and with the events of one day, never with the days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from pipelines.simulation.world import (
    FAVOURITE_ARTISTS,
    FAVOURITE_TRACKS,
    HOURS,
    Bools,
    Floats,
    Ints,
    Users,
    World,
    draw_between,
    draw_columns,
    draw_places,
)

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = HOURS * HOUR_MS
SESSION_BREAK_MS = 30 * MINUTE_MS

KINDS = ("listen", "skip", "like", "save")
LISTEN, SKIP, LIKE, SAVE = range(len(KINDS))
CONTEXTS = ("album", "library", "radio")
ALBUM, LIBRARY, RADIO = range(len(CONTEXTS))

MAX_PLAYS = 60
"""Longest session, in plays; with the longest tracks it ends within a day of its start."""
MAX_SESSIONS = 6
"""Most sessions that one user begins in a day."""
RECENT = 100
"""Listens that each user can replay by memory."""
GLANCES = 6
"""Recent listens a user thinks of before turning to the favourites instead."""

LEANING_DAYS = 5.0
"""Mean days before a user's leaning turns to other genres of the same taste."""
LEANING_SHAPE = 0.2
"""Shape of the gamma weight of each genre in a leaning: the smaller, the fewer genres at a time."""
FROM_RECENT = 0.06
"""Chance that a track is replayed from the recent listens; where none suits the mood, it comes from the favourites."""
FROM_FAVOURITES = 0.66
"""Chance that it is a favourite track of the mood's genre; the rest is exploration."""
KNOWN_ARTIST = 0.5
"""Chance that exploration goes to a favourite artist."""
SAME_ARTIST = 0.12
"""Chance that exploration stays with the artist just heard."""
OFF_MOOD = 0.06
"""Chance that exploration misses the mood, and lands in a neighbouring genre."""
ALBUM_STARTS = 0.10
"""Chance that the next track on the album follows a track that was not heard as part of the album ..."""
ALBUM_GOES_ON = 0.65
"""... and one that was. The album comes before all other sources."""
LISTENED_TO_END = 0.85
SAVED = 0.006
GROWS_DEAR = 0.015
"""Chance that a listen, neither liked nor saved, makes its track a favourite."""


@dataclass(frozen=True)
class Events:
    """Columns of things that happened; `at` is in milliseconds since the log's first midnight."""

    user: Ints
    track: Ints
    at: Ints
    kind: Ints
    ms: Ints
    """Milliseconds played, or -1 where nothing was played."""
    context: Ints

    def take(self, rows: Ints | Bools) -> Events:
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def concat(parts: list[Events]) -> Events:
        return Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)))


@dataclass
class Sessions:
    """The sessions under way; every array has one row a session."""

    user: Ints
    clock: Ints
    """When the next play begins, in milliseconds since the log's first midnight."""
    left: Ints
    """Plays to come."""
    mood: Ints
    """The genre the user wants now."""
    last: Ints
    """The track before, or -1."""
    in_album: Bools

    def take(self, rows: Bools) -> Sessions:
        return Sessions(*(getattr(self, field.name)[rows] for field in fields(self)))


class Listening:
    """The generator: call `day` for day 0, 1, 2, ... in that order."""

    def __init__(
        self, world: World, users: Users, *, first_weekday: int, plays_per_session: float, drift: float
    ) -> None:
        self.world = world
        self.users = users
        self.first_weekday = first_weekday
        self.plays_per_session = plays_per_session
        self.drift = drift
        self.track_genre = world.artist_genre[world.track_artist]
        self.fame = np.concatenate([[0.0], np.cumsum(world.artist_popularity)])
        count = len(users.joined)
        self.favourites = users.tracks.copy()
        self.recent = np.full((count, RECENT), -1, np.int32)
        self.listens = np.zeros(count, np.int64)
        self.last_end = np.full(count, -DAY_MS)
        self.leaning = users.taste.copy()
        none = np.empty(0, np.int64)
        self.overflow = Events(none, none, none, none, none, none)

    def day(self, day: int, seed: np.random.SeedSequence) -> Events:
        """Return everything that happens on `day`, in order of time; what is past midnight waits for the next call."""
        rng = np.random.default_rng(seed)
        available = self.world.available(day)
        # Now and then somebody's leaning turns to other genres of the same taste: what was dear weeks ago comes back.
        turned = np.flatnonzero((rng.random(len(self.listens)) < 1.0 / LEANING_DAYS) | (day == 0))
        self.leaning[turned] = self.users.taste[turned] * (
            0.02 + rng.gamma(LEANING_SHAPE, size=self.leaning[turned].shape)
        )
        parts = [self.overflow]
        for user, start in self._starts(rng, day):
            parts.extend(self._play(rng, available, user, start))
        events = Events.concat(parts)
        today = events.at < (day + 1) * DAY_MS
        self.overflow = events.take(~today)
        events = events.take(today)
        return events.take(np.argsort(events.at, kind="stable"))

    def _starts(self, rng: np.random.Generator, day: int) -> Iterator[tuple[Ints, Ints]]:
        """Yield users and start times of everybody's first session of the day, then of the second, and so on.

        A turn reads where the sessions of the turn before ended, so it is drawn only after they were played.
        """
        weekday = (self.first_weekday + day) % 7
        rate = np.where(self.users.joined <= day, self.users.activity * self.users.weekdays[:, weekday], 0.0)
        counts = np.minimum(rng.poisson(rate), MAX_SESSIONS)
        user = np.repeat(np.arange(len(counts)), counts)
        hour = draw_columns(rng, self.users.hours[user])
        start = day * DAY_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS, len(user))
        start = start[np.lexsort((start, user))]
        ordinal = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        for turn in range(MAX_SESSIONS):
            who, when = user[ordinal == turn], start[ordinal == turn]
            rest = SESSION_BREAK_MS + rng.integers(1_000, 30 * MINUTE_MS, len(who))
            when = np.maximum(when, self.last_end[who] + rest)
            # The session before went on too long: no room is left today.
            fits = when < (day + 1) * DAY_MS
            yield who[fits], when[fits]

    def _play(self, rng: np.random.Generator, available: Floats, user: Ints, start: Ints) -> Iterator[Events]:
        """Play one session of each of `user` to its end, all of them in step."""
        hour = start // HOUR_MS % HOURS
        sessions = Sessions(
            user=user,
            clock=start,
            left=np.minimum(rng.geometric(1.0 / self.plays_per_session, len(user)), MAX_PLAYS),
            mood=draw_columns(rng, self.leaning[user] * self.world.hour_genre[hour]),
            last=np.full(len(user), -1),
            in_album=np.zeros(len(user), np.bool_),
        )
        while len(sessions.user):
            yield from self._step(rng, available, sessions)
            over = sessions.left == 0
            self.last_end[sessions.user[over]] = sessions.clock[over]
            sessions = sessions.take(~over)

    def _step(self, rng: np.random.Generator, available: Floats, now: Sessions) -> Iterator[Events]:
        """One play in every session: drift, choose, listen or skip, perhaps like or save, remember."""
        count, user = len(now.user), now.user
        moved = np.flatnonzero((rng.random(count) < self.drift) & (now.last >= 0))
        pull = self.world.genre_near[now.mood[moved]] * (self.leaning[user[moved]] + 0.001)
        now.mood[moved] = draw_columns(rng, pull)
        now.in_album[moved] = False
        track, context = self._choose(rng, available, now)

        artist = self.world.track_artist[track]
        genre = self.world.artist_genre[artist]
        stranger = ~(self.users.artists[user, genre] == artist[:, None]).any(axis=1)
        annoyance = 0.03 + 0.08 * stranger * (context == RADIO) + 0.35 * (genre != now.mood)
        skipped = rng.random(count) < annoyance * self.users.impatience[user]
        length = self.world.track_ms[track]
        heard = np.where(rng.random(count) < LISTENED_TO_END, 1.0, rng.uniform(0.5, 1.0, count))
        ms = np.where(skipped, rng.integers(2_000, 30_000, count), (length * heard).astype(np.int64))
        end = now.clock + ms
        gap = rng.integers(500, 4_000, count)
        yield Events(user, track, now.clock, np.where(skipped, SKIP, LISTEN), ms, context)

        liked = ~skipped & (rng.random(count) < np.where(context == LIBRARY, 0.004, 0.03))
        saved = ~skipped & (rng.random(count) < SAVED)
        for rows, kind, at in ((liked, LIKE, end + gap // 3), (saved, SAVE, end + 2 * gap // 3)):
            some = int(rows.sum())
            yield Events(user[rows], track[rows], at[rows], np.full(some, kind), np.full(some, -1), context[rows])
        self._remember(rng, user, track, genre, listened=~skipped, loved=liked | saved)

        now.last, now.in_album = track, context == ALBUM
        now.clock = end + gap
        now.left = now.left - 1

    def _choose(self, rng: np.random.Generator, available: Floats, now: Sessions) -> tuple[Ints, Ints]:
        """Return the next track of every session and its context: the album, the library or exploration."""
        world, count, user = self.world, len(now.user), now.user
        roll = rng.random(count)
        track, context = np.empty(count, np.int64), np.full(count, RADIO)

        following = np.where(now.last >= 0, world.track_next[now.last], -1)
        # An album comes out as a whole: if the track before is out, so is this one.
        on_album = (following >= 0) & (rng.random(count) < np.where(now.in_album, ALBUM_GOES_ON, ALBUM_STARTS))
        track[on_album], context[on_album] = following[on_album], ALBUM

        again = np.flatnonzero(~on_album & (roll < FROM_RECENT))
        track[again], known = self._recall(rng, user[again], now.mood[again], now.last[again])
        forgot = np.zeros(count, np.bool_)
        forgot[again] = ~known
        dear = np.flatnonzero(forgot | (~on_album & (roll >= FROM_RECENT) & (roll < FROM_RECENT + FROM_FAVOURITES)))
        place = draw_places(rng, len(dear), FAVOURITE_TRACKS)
        # Few people play a track twice in a row: the next favourite takes its turn.
        place += self.favourites[user[dear], now.mood[dear], place] == now.last[dear]
        track[dear] = self.favourites[user[dear], now.mood[dear], place % FAVOURITE_TRACKS]
        context[again] = context[dear] = LIBRARY

        new = np.flatnonzero(~on_album & (roll >= FROM_RECENT + FROM_FAVOURITES))
        artist = self._explore(rng, user[new], now.mood[new], now.last[new])
        track[new] = draw_between(rng, available, world.artist_first[artist], world.artist_first[artist + 1])
        return track, context

    def _recall(self, rng: np.random.Generator, user: Ints, mood: Ints, last: Ints) -> tuple[Ints, Bools]:
        """Return a recent listen that suits the mood, and whether one came to mind at a few glances."""
        span = np.minimum(self.listens[user], RECENT)[:, None]
        age = 1 + (span * rng.random((len(user), GLANCES))).astype(np.int64)
        glance = self.recent[user[:, None], (self.listens[user][:, None] - age) % RECENT]
        fits = (glance >= 0) & (glance != last[:, None]) & (self.track_genre[glance] == mood[:, None])
        return glance[np.arange(len(user)), fits.argmax(axis=1)], fits.any(axis=1)

    def _explore(self, rng: np.random.Generator, user: Ints, mood: Ints, last: Ints) -> Ints:
        """Return an artist: a favourite, the one just heard, a well-known one, or one that misses the mood."""
        world, count = self.world, len(user)
        astray = rng.random(count) < OFF_MOOD
        genre = mood.copy()
        genre[astray] = draw_columns(rng, world.genre_near[mood[astray]])
        artist = draw_between(rng, self.fame, world.genre_first[genre], world.genre_first[genre + 1])
        known = rng.random(count) < KNOWN_ARTIST
        artist[known] = self.users.artists[user, genre, draw_places(rng, count, FAVOURITE_ARTISTS)][known]
        before = world.track_artist[last]
        stay = (last >= 0) & (world.artist_genre[before] == mood) & (rng.random(count) < SAME_ARTIST)
        artist[stay] = before[stay]
        return artist

    def _remember(
        self, rng: np.random.Generator, user: Ints, track: Ints, genre: Ints, *, listened: Bools, loved: Bools
    ) -> None:
        """Keep the listen for replays; what is loved, and now and then what is not, becomes a favourite."""
        who, what = user[listened], track[listened]
        self.recent[who, self.listens[who] % RECENT] = what
        self.listens[who] += 1
        kept = loved | (listened & (rng.random(len(user)) < GROWS_DEAR))
        self.favourites[user[kept], genre[kept], draw_places(rng, int(kept.sum()), FAVOURITE_TRACKS)] = track[kept]
