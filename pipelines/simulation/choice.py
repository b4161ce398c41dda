"""The choice of the next track in a session of the simulated log, and users' memory of recent listens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.draws import Bools, Floats, Ints, draw_between, draw_columns, draw_places
from pipelines.simulation.library import Library
from pipelines.simulation.simulate_config import SimulateConfig
from pipelines.simulation.simulated_events import ALBUM, LIBRARY, RADIO
from pipelines.simulation.users import FAVOURITE_ARTISTS, FAVOURITE_TRACKS, Users
from pipelines.simulation.world import World

RECENT = 100
"""Number of recent listens that each user can replay."""
GLANCES = 6
"""Number of recent listens that a user considers before turning to the favourites."""
FROM_RECENT = 0.06
"""Chance that a track is replayed from the recent listens; where none suits the mood, it comes from the favourites."""
KNOWN_ARTIST = 0.5
"""Chance that exploration goes to a favourite artist."""
SAME_ARTIST = 0.12
"""Chance that exploration stays with the artist just heard."""
OFF_MOOD = 0.06
"""Chance that exploration misses the mood, and lands in a neighbouring genre."""
ALBUM_GOES_ON = 0.65
"""Least chance that an album goes on. The album comes before all other sources."""
STRETCH_GOES_ON = 0.75
"""Chance that a stretch of the library goes on where its next track suits the mood. It comes before the album."""

_CONTEXT = np.array([LIBRARY, ALBUM], np.int8)


@dataclass(frozen=True)
class Choice:
    """The next track of every session."""

    track: Ints
    context: Ints
    place: Ints
    """Its place among the favourites, or -1."""
    position: Ints
    """Its position in the user's library if it comes from there, or -1."""
    strangers: Ints
    """The rows of the radio whose artist is no favourite."""


class Chooser:
    """A chooser of next tracks for a block of users, from the album, the user's own library or by exploration."""

    def __init__(self, world: World, users: Users, config: SimulateConfig) -> None:
        self.world = world
        self.users = users
        self.routine = config.routine
        # By whether the track before was heard as part of the album. Below 1: what else would be drawn must exist.
        chances = [config.albums, max(config.albums, ALBUM_GOES_ON)]
        self.album = np.minimum(np.array(chances, np.float32), np.float32(1 - 2**-20))
        # Outside albums: the same again, a recent listen, something new, and else a favourite.
        self.replay = config.replay
        self.recall = self.replay + FROM_RECENT
        busy = (users.activity / config.sessions_per_day) ** config.library.breadth
        share = np.minimum(config.exploration * busy, 1.0)
        self.explore = (self.recall + share * (1.0 - self.recall)).astype(np.float32)
        self.fame = np.concatenate([[0.0], np.cumsum(world.artist_popularity)])
        self.genres = users.taste.shape[1]
        self.favourites = users.tracks
        self._shelves = self.favourites.reshape(-1)
        self.returns = config.library.returns
        self.library: Library | None = None
        if self.returns:
            found = self.favourites.reshape(len(users.joined), -1)
            self.library = Library(found, world.track_genre, config.library)
        self.recent = np.full((len(users.joined), RECENT), -1, np.int32)
        self.listens = np.zeros(len(users.joined), np.int32)

    def choose(
        self,
        rng: np.random.Generator,
        available: Floats,
        roll: Floats,
        user: Ints,
        mood: Ints,
        last: Ints,
        in_album: Bools,
        place: Ints,
        position: Ints,
    ) -> Choice:
        """Choose the next track of every session.

        Args:
            rng: generator of draws that only some rows need.
            available: `World.available` of the day.
            roll: a uniform number for every row.
            user: user of each session; no user twice.
            mood: the genre wanted.
            last: the previous track, or -1.
            in_album: whether it was heard as part of its album.
            place: its place among the favourites, or -1.
            position: its position in the user's library if it came from there, or -1.
        """
        # An album is released as a whole: if the previous track is out, so is this one.
        following = self.world.track_next.take(last, mode="wrap")
        chance = self.album.take(in_album) * (following >= 0)
        positions = np.full(len(user), -1)
        if self.library:
            own = np.flatnonzero(position >= 0)
            onwards = self.library.onwards(user[own], position[own], mood[own])
            own, onwards = own[onwards >= 0], onwards[onwards >= 0]
            following[own], chance[own], positions[own] = onwards, STRETCH_GOES_ON, position[own] + 1
        # One number for both choices: below its chance the album goes on; the rest of it decides between the others.
        pick = (roll - chance) / (1.0 - chance)
        goes_on = pick < 0
        track = np.where(goes_on, following, -1).astype(np.int64)
        positions[~goes_on] = -1
        context = _CONTEXT.take(goes_on & (positions < 0))

        again = np.flatnonzero((pick >= 0) & (pick < self.recall))
        replayed = pick[again] < self.replay
        track[again[replayed]] = last[again[replayed]]
        again = again[~replayed]
        track[again] = self._recall(rng, user[again], mood[again], last[again])
        new = np.flatnonzero((pick >= self.recall) & (pick < self.explore.take(user)))
        artist, strange = self._explore(rng, user[new], mood[new], last[new])
        track[new] = draw_between(rng, available, self.world.artist_first[artist], self.world.artist_first[artist + 1])
        context[new] = RADIO

        if self.library:
            back = np.flatnonzero(track < 0)
            back = back[rng.random(len(back), np.float32) < self.returns]
            track[back], positions[back] = self.library.find(rng, user[back], mood[back], last[back])
        dear = np.flatnonzero(track < 0)
        before, shelf = place[dear], (user[dear] * self.genres + mood[dear]) * FAVOURITE_TRACKS
        at = draw_places(rng, len(dear), FAVOURITE_TRACKS)
        in_order = np.flatnonzero((rng.random(len(dear), np.float32) < self.routine) & (before >= 0))
        at[in_order] = (before[in_order] + 1) % FAVOURITE_TRACKS
        # Replays are decided above, so the favourite just heard is replaced by the next one.
        same = np.flatnonzero(self._shelves.take(shelf + at) == last[dear])
        at[same] = (at[same] + 1) % FAVOURITE_TRACKS
        track[dear] = self._shelves.take(shelf + at)
        places = np.full(len(user), -1)
        places[dear] = at
        return Choice(track, context, places, positions, new[strange])

    def grow_dear(self, rng: np.random.Generator, user: Ints, track: Ints) -> None:
        """Put the tracks among the users' favourites, each replacing another."""
        place = draw_places(rng, len(user), FAVOURITE_TRACKS)
        self.favourites[user, self.world.track_genre[track], place] = track

    def adopt(self, rng: np.random.Generator, user: Ints, track: Ints) -> None:
        """Put the artists of the tracks among the users' favourite artists, each replacing another."""
        place = draw_places(rng, len(user), FAVOURITE_ARTISTS)
        self.users.artists[user, self.world.track_genre[track], place] = self.world.track_artist[track]

    def remember(self, user: Ints, track: Ints, listened: Bools) -> None:
        """Store the listens for replays."""
        rows = np.flatnonzero(listened)
        who = user[rows]
        heard = self.listens[who]
        self.recent[who, heard % RECENT] = track[rows]
        self.listens[who] = heard + 1

    def _recall(self, rng: np.random.Generator, user: Ints, mood: Ints, last: Ints) -> Ints:
        """Return a recent listen that suits the mood, or -1 where none of a few candidates does."""
        heard = self.listens[user][:, None]
        age = 1 + (np.minimum(heard, RECENT) * rng.random((len(user), GLANCES))).astype(np.int64)
        glance = self.recent[user[:, None], (heard - age) % RECENT]
        fits = (glance >= 0) & (glance != last[:, None]) & (self.world.track_genre[glance] == mood[:, None])
        return np.where(fits.any(axis=1), glance[np.arange(len(user)), fits.argmax(axis=1)], -1)

    def _explore(self, rng: np.random.Generator, user: Ints, mood: Ints, last: Ints) -> tuple[Ints, Bools]:
        """Return an artist: a favourite, the one just heard, a well-known one, or one that misses the mood.

        Also return whether the artist is none of the user's favourites.
        """
        world, count = self.world, len(user)
        stay = (last >= 0) & (world.track_genre[last] == mood) & (rng.random(count, np.float32) < SAME_ARTIST)
        astray = np.flatnonzero(~stay & (rng.random(count, np.float32) < OFF_MOOD))
        genre = mood.copy()
        genre[astray] = draw_columns(rng, world.genre_near[mood[astray]])
        artist = draw_between(rng, self.fame, world.genre_first[genre], world.genre_first[genre + 1])
        favourites = self.users.artists[user, genre]
        known = np.flatnonzero(rng.random(count, np.float32) < KNOWN_ARTIST)
        artist[known] = favourites[known, draw_places(rng, len(known), FAVOURITE_ARTISTS)]
        artist[stay] = world.track_artist[last[stay]]
        return artist, (favourites != artist[:, None]).all(axis=1)
