"""What lasts in the simulated log: the catalogue (genres, artists, albums, tracks, releases) and the users' tastes.

Genres stand on a circle, in the order of their index: neighbours sound alike, one half is calm and one energetic.
Artists are sorted by genre and, within a genre, stand on a smaller circle of scenes. Tracks are sorted by artist, album
and place on the album, so that "the tracks of an artist" is a slice and one cumulative sum serves every draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

HOURS = 24
ALWAYS_OUT = -1
"""Release day of every track that came out before the log begins."""

ALBUM_TRACKS = (5, 12)
ARTIST_ZIPF = 0.9
TRACK_ZIPF = 0.9
NEIGHBOUR_WIDTH = 1.2
RELEASE_BOOST = 3.0
RELEASE_DAYS = 7.0

FAVOURITE_ARTISTS = 6
"""Favourite artists of each user in each genre, the dearest first."""
FAVOURITE_TRACKS = 12
"""Favourite tracks of each user in each genre, the dearest first."""
SCENE_WIDTH = 0.25
"""How far a user's favourite artists stand apart, as a share of the genre's circle of scenes."""
ACTIVITY_SPREAD = 0.7
WEEKEND_SPREAD = 0.4
WEEKDAYS = 5

# fmt: off
SYLLABLES = ["ba", "bre", "da", "do", "el", "fi", "ga", "hu", "ja", "ke", "lo", "mi", "na", "or", "pe", "qui", "ru",
             "sa", "ti", "ula", "vo", "wen", "xi", "yo", "ze", "tha", "sko", "lin"]
ADJECTIVES = ["Amber", "Bitter", "Broken", "Distant", "Electric", "Empty", "Gentle", "Golden", "Hollow", "Idle", "Late",
              "Lost", "Paper", "Quiet", "Silver", "Wild"]
NOUNS = ["Anchor", "Bridge", "Candle", "City", "Coast", "Engine", "Field", "Garden", "Harbour", "Letter", "Mirror",
         "Orchard", "River", "Signal", "Summer", "Window"]
# fmt: on


@dataclass(frozen=True)
class World:
    """A catalogue; every array is indexed by the thing its name begins with."""

    genre_near: Floats
    """Weight of the drift from the row's genre to the column's; 0 on the diagonal where there is another genre."""
    genre_popularity: Floats
    genre_first: Ints
    """First artist of each genre, and the number of artists at the end."""
    hour_genre: Floats
    """How well each genre suits each hour of the day."""
    artist_genre: Ints
    artist_popularity: Floats
    artist_first: Ints
    """First track of each artist, and the number of tracks at the end."""
    artist_ids: list[str]
    artist_names: list[str]
    album_names: list[str]
    track_artist: Ints
    track_album: Ints
    track_next: Ints
    """The next track on the same album, or -1."""
    track_release: Ints
    """Day of the log, counted from 0, on which the track comes out."""
    track_popularity: Floats
    track_ms: Ints
    track_ids: list[str]
    titles: list[str]

    def available(self, day: int) -> Floats:
        """Return the cumulative popularity, from a leading 0, of the tracks out on `day`; fresh ones weigh more."""
        age = day - self.track_release
        fresh = (self.track_release != ALWAYS_OUT) * np.exp(-np.maximum(age, 0) / RELEASE_DAYS)
        weight = np.where(age >= 0, self.track_popularity * (1.0 + RELEASE_BOOST * fresh), 0.0)
        return np.concatenate([[0.0], np.cumsum(weight)])


def draw_between(rng: np.random.Generator, cumulative: Floats, first: Ints, last: Ints) -> Ints:
    """Draw one index from each slice `first:last`, in proportion to the weights behind `cumulative`."""
    low, high = cumulative[first], cumulative[last]
    # Rounding may land on `high` itself, which belongs to the next slice: stay strictly below it.
    point = np.minimum(low + rng.random(len(first)) * (high - low), np.nextafter(high, low))
    return np.asarray(np.searchsorted(cumulative, point, side="right") - 1)


def draw_columns(rng: np.random.Generator, weights: Floats) -> Ints:
    """Draw one column for each row of non-negative `weights`."""
    cumulative = np.cumsum(weights, axis=1)
    point = rng.random((len(weights), 1)) * cumulative[:, -1:]
    return np.asarray(np.minimum((point >= cumulative).sum(axis=1), weights.shape[1] - 1))


def draw_places(rng: np.random.Generator, count: int, places: int) -> Ints:
    """Draw places on lists that begin with the dearest: the first places come up most."""
    return (places * rng.random(count) ** 1.7).astype(np.int64)


@dataclass(frozen=True)
class Users:
    """What is lasting about each user; every array has one row a user."""

    joined: Ints
    """Day of the log, counted from 0, before which the user does nothing."""
    activity: Floats
    """Mean sessions a day."""
    impatience: Floats
    """Factor on the chance of a skip; 1 on average."""
    taste: Floats
    """Share of each genre."""
    hours: Floats
    """Share of each hour of the day (UTC) in the user's session starts."""
    weekdays: Floats
    """Factor on the activity of Monday, ..., Sunday; 1 on average."""
    artists: Ints
    """Favourite artists by genre: [user, genre, place]."""
    tracks: Ints
    """Favourite tracks by genre when the log begins: [user, genre, place]."""


def build_world(
    seed: np.random.SeedSequence, *, genres: int, artists: int, tracks: int, days: int, new_tracks: float
) -> World:
    """Invent a catalogue; `new_tracks` is the share of tracks that come out after the first day of the log."""
    rng = np.random.default_rng(seed)
    genre_popularity = rng.permutation(_zipf(genres, 0.6))
    # Every genre has an artist and every artist a track; the rest is spread by popularity.
    spread = rng.choice(genres, size=artists - genres, p=genre_popularity)
    artist_genre = np.sort(np.concatenate([np.arange(genres), spread]))
    artist_popularity = rng.permutation(_zipf(artists, ARTIST_ZIPF))
    output = np.sqrt(artist_popularity)
    artist_tracks = 1 + rng.multinomial(tracks - artists, output / output.sum())
    track_artist = np.repeat(np.arange(artists), artist_tracks)
    track_album = _albums(rng, artist_tracks)
    same_album = np.append(track_album[1:] == track_album[:-1], False)
    hits = np.concatenate([rng.permutation(_zipf(count, TRACK_ZIPF)) for count in artist_tracks.tolist()])
    return World(
        genre_near=_neighbours(genres),
        genre_popularity=genre_popularity,
        genre_first=np.searchsorted(artist_genre, np.arange(genres + 1)),
        hour_genre=_hours(genres),
        artist_genre=artist_genre,
        artist_popularity=artist_popularity,
        artist_first=np.concatenate([[0], np.cumsum(artist_tracks)]),
        artist_ids=_ids(rng, "a", 4, artists),
        artist_names=[f"{_word(rng, 2)} {_word(rng, 3)}" for _ in range(artists)],
        album_names=[f"{_pick(rng, NOUNS)} & {_pick(rng, NOUNS)}" for _ in range(int(track_album[-1]) + 1)],
        track_artist=track_artist,
        track_album=track_album,
        track_next=np.where(same_album, np.arange(1, tracks + 1), -1),
        track_release=_releases(rng, track_artist, track_album, days, new_tracks),
        track_popularity=artist_popularity[track_artist] * hits,
        track_ms=np.clip(rng.lognormal(np.log(205_000), 0.25, tracks), 90_000, 480_000).astype(np.int64),
        track_ids=_ids(rng, "t", 6, tracks),
        titles=[f"{_pick(rng, ADJECTIVES)} {_pick(rng, NOUNS)} {_word(rng, 2)}" for _ in range(tracks)],
    )


def draw_users(
    seed: np.random.SeedSequence, world: World, *, users: int, days: int, sessions_per_day: float, new_users: float
) -> Users:
    """Invent the users; `new_users` is the share of them that joins after the first day."""
    rng = np.random.default_rng(seed)
    genres = len(world.genre_popularity)
    dirichlet = rng.dirichlet(0.3 * genres * world.genre_popularity + 0.2, size=users)
    # Who likes a genre also bears its neighbours, in small doses.
    taste = 0.85 * dirichlet + 0.15 * dirichlet @ world.genre_near
    peaks = rng.choice([8.0, 13.0, 18.0, 21.0], size=(users, 2)) + rng.normal(0.0, 1.5, (users, 2))
    angle = 2 * np.pi * (np.arange(HOURS)[None, None, :] + 0.5 - peaks[:, :, None]) / HOURS
    bumps = np.exp(4.0 * (np.cos(angle) - 1.0))
    bumps /= bumps.sum(axis=2, keepdims=True)
    weekdays = rng.gamma(8.0, size=(users, 7)) * np.where(
        np.arange(7) >= WEEKDAYS, rng.lognormal(0.0, WEEKEND_SPREAD, (users, 1)), 1.0
    )
    late = (rng.random(users) < new_users) & (days > 1)
    artists, tracks = _favourites(rng, world, users)
    return Users(
        joined=np.where(late, rng.integers(1, max(days, 2), users), 0),
        activity=sessions_per_day * rng.lognormal(-(ACTIVITY_SPREAD**2) / 2, ACTIVITY_SPREAD, users),
        impatience=rng.gamma(4.0, 0.25, users),
        taste=taste,
        hours=0.65 * bumps[:, 0] + 0.27 * bumps[:, 1] + 0.08 / HOURS,
        weekdays=weekdays / weekdays.mean(axis=1, keepdims=True),
        artists=artists,
        tracks=tracks,
    )


def _favourites(rng: np.random.Generator, world: World, users: int) -> tuple[Ints, Ints]:
    """Favourite artists stand near each other in the scenes of their genre, so that users who share one share more."""
    genres = len(world.genre_popularity)
    artists = np.empty((users, genres, FAVOURITE_ARTISTS), np.int32)
    tracks = np.empty((users, genres, FAVOURITE_TRACKS), np.int32)
    available = world.available(0)
    every_user = np.arange(users)[:, None]
    for genre in range(genres):
        first, end = world.genre_first[genre : genre + 2].tolist()
        scene = rng.random((users, 1, 1)) + rng.normal(0.0, SCENE_WIDTH, (users, FAVOURITE_ARTISTS, 4))
        candidates = first + (end - first) * (scene % 1.0)
        candidates = np.minimum(candidates.astype(np.int32), end - 1)
        appeal = np.log(world.artist_popularity)[candidates] + rng.gumbel(size=candidates.shape)
        best = appeal.argmax(axis=2)[:, :, None]
        artists[:, genre] = np.take_along_axis(candidates, best, axis=2)[:, :, 0]
        place = draw_places(rng, users * FAVOURITE_TRACKS, FAVOURITE_ARTISTS).reshape(users, FAVOURITE_TRACKS)
        artist = artists[every_user, genre, place].ravel()
        drawn = draw_between(rng, available, world.artist_first[artist], world.artist_first[artist + 1])
        tracks[:, genre] = drawn.reshape(users, FAVOURITE_TRACKS)
    return artists, tracks


def _zipf(count: int, exponent: float) -> Floats:
    weight = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return np.asarray(weight / weight.sum())


def _neighbours(genres: int) -> Floats:
    if genres == 1:
        return np.ones((1, 1))
    steps = np.abs(np.arange(genres)[:, None] - np.arange(genres)[None, :])
    near = np.exp(-((np.minimum(steps, genres - steps) / NEIGHBOUR_WIDTH) ** 2))
    np.fill_diagonal(near, 0.0)
    return np.asarray(near / near.sum(axis=1, keepdims=True))


def _hours(genres: int) -> Floats:
    """Mornings want energy and nights want calm; the floor lets a strong taste have its way at any hour."""
    energy = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(genres) / genres)
    wanted = 0.5 + 0.5 * np.cos(2 * np.pi * (np.arange(HOURS) - 10) / HOURS)
    return 0.05 + np.exp(-(((wanted[:, None] - energy[None, :]) / 0.4) ** 2))


def _albums(rng: np.random.Generator, artist_tracks: Ints) -> Ints:
    """Cut each artist's tracks into albums; albums are numbered over the whole catalogue."""
    sizes: list[int] = []
    for count in artist_tracks.tolist():
        left = count
        while left > 0:
            sizes.append(min(left, int(rng.integers(ALBUM_TRACKS[0], ALBUM_TRACKS[1] + 1))))
            left -= sizes[-1]
    return np.repeat(np.arange(len(sizes)), sizes)


def _releases(rng: np.random.Generator, track_artist: Ints, track_album: Ints, days: int, share: float) -> Ints:
    """Bring out the newest albums of some artists during the log; an artist's first album is always out before it."""
    tracks = len(track_artist)
    release = np.full(tracks, ALWAYS_OUT)
    ends = np.append(track_artist[1:] != track_artist[:-1], True)
    firsts = track_album[np.searchsorted(track_artist, track_artist[ends])]
    newest = track_album[ends]
    left = round(share * tracks) if days > 1 else 0
    for album in rng.permutation(newest[newest != firsts]):
        first, end = np.searchsorted(track_album, [album, album + 1]).tolist()
        # Too long for what is left: a shorter album may still fit, so that small catalogues keep to the share too.
        if end - first <= left:
            release[first:end] = rng.integers(1, days)
            left -= end - first
    return release


def _ids(rng: np.random.Generator, letter: str, width: int, count: int) -> list[str]:
    """Shuffled, so that an id says nothing of its neighbours in the catalogue."""
    width = max(width, len(str(count - 1)))
    return [f"{letter}{number:0{width}d}" for number in rng.permutation(count).tolist()]


def _pick(rng: np.random.Generator, words: list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _word(rng: np.random.Generator, syllables: int) -> str:
    return "".join(_pick(rng, SYLLABLES) for _ in range(syllables)).capitalize()
