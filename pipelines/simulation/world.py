"""The music of the simulated log: genres, artists, albums, tracks, releases.

Genres are on a circle, in the order of their index: neighbours sound alike, one half is calm and one energetic. Artists
are sorted by genre and, within a genre, are on a smaller circle of scenes. Tracks are sorted by artist, album and place
on the album, so that the tracks of an artist are a slice and one cumulative sum serves every draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.draws import Floats, Ints, zipf_weights
from pipelines.simulation.names import draw_albums, draw_artists, draw_ids, draw_titles
from pipelines.simulation.simulate_config import SimulateConfig

HOURS = 24
ALWAYS_OUT = -1
"""Release day of every track that came out before the log begins."""

ALBUM_TRACKS = (5, 12)
NEIGHBOUR_WIDTH = 1.2
RELEASE_BOOST = 8.0
RELEASE_DAYS = 7.0


@dataclass(frozen=True)
class World:
    """A catalogue of music; every array is indexed by the first word of its name."""

    genre_near: Floats
    """Weight of the drift from the row's genre to the column's; 0 on the diagonal where there is another genre."""
    genre_popularity: Floats
    genre_first: Ints
    """First artist of each genre, and the number of artists at the end."""
    hour_genre: Floats
    """Fit of each genre to each hour of the day."""
    artist_popularity: Floats
    artist_first: Ints
    """First track of each artist, and the number of tracks at the end."""
    artist_ids: list[str]
    artist_names: list[str]
    album_names: list[str]
    track_artist: Ints
    track_genre: Ints
    track_album: Ints
    track_next: Ints
    """The next track on the same album, or -1; the last entry, and so that of track -1, is -1."""
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


def build_world(seed: np.random.SeedSequence, config: SimulateConfig) -> World:
    """Draw a catalogue."""
    rng = np.random.default_rng(seed)
    genres, artists, tracks = config.genres, config.artists, config.tracks
    genre_popularity = rng.permutation(zipf_weights(genres, 0.6))
    # Every genre has an artist and every artist a track; the rest is spread by popularity.
    spread = rng.choice(genres, size=artists - genres, p=genre_popularity)
    artist_genre = np.sort(np.concatenate([np.arange(genres), spread]))
    artist_popularity = rng.permutation(zipf_weights(artists, config.popularity))
    output = np.sqrt(artist_popularity)
    artist_tracks = 1 + rng.multinomial(tracks - artists, output / output.sum())
    track_artist = np.repeat(np.arange(artists), artist_tracks)
    track_album = _albums(rng, artist_tracks)
    same_album = np.append(track_album[1:] == track_album[:-1], False)
    hits = np.concatenate([rng.permutation(zipf_weights(count, config.popularity)) for count in artist_tracks.tolist()])
    return World(
        genre_near=_neighbours(genres),
        genre_popularity=genre_popularity,
        genre_first=np.searchsorted(artist_genre, np.arange(genres + 1)),
        hour_genre=_hours(genres),
        artist_popularity=artist_popularity,
        artist_first=np.concatenate([[0], np.cumsum(artist_tracks)]),
        artist_ids=draw_ids(rng, "a", 4, artists),
        artist_names=draw_artists(rng, artists),
        album_names=draw_albums(rng, int(track_album[-1]) + 1),
        track_artist=track_artist,
        track_genre=artist_genre[track_artist].astype(np.int16),
        track_album=track_album,
        track_next=np.where(same_album, np.arange(1, tracks + 1), -1).astype(np.int32),
        track_release=_releases(rng, track_artist, track_album, config.days, config.new_tracks),
        track_popularity=artist_popularity[track_artist] * hits,
        track_ms=np.clip(rng.lognormal(np.log(205_000), 0.25, tracks), 90_000, 480_000).astype(np.int32),
        track_ids=draw_ids(rng, "t", 6, tracks),
        titles=draw_titles(rng, tracks),
    )


def _neighbours(genres: int) -> Floats:
    if genres == 1:
        return np.ones((1, 1))
    steps = np.abs(np.arange(genres)[:, None] - np.arange(genres)[None, :])
    near = np.exp(-((np.minimum(steps, genres - steps) / NEIGHBOUR_WIDTH) ** 2))
    np.fill_diagonal(near, 0.0)
    return np.asarray(near / near.sum(axis=1, keepdims=True))


def _hours(genres: int) -> Floats:
    """Return `World.hour_genre`: energetic in the morning, calm at night, with a floor so that taste counts always."""
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
    """Release the newest albums of some artists during the log; an artist's first album is always out before it."""
    tracks = len(track_artist)
    release = np.full(tracks, ALWAYS_OUT)
    ends = np.append(track_artist[1:] != track_artist[:-1], True)
    firsts = track_album[np.searchsorted(track_artist, track_artist[ends])]
    newest = track_album[ends]
    left = round(share * tracks) if days > 1 else 0
    for album in rng.permutation(newest[newest != firsts]):
        first, end = np.searchsorted(track_album, [album, album + 1]).tolist()
        # An album too long for the rest is skipped; a shorter one may fit, so that small catalogues keep the share too.
        if end - first <= left:
            release[first:end] = rng.integers(1, days)
            left -= end - first
    return release
