"""The lasting traits of users of the simulated log: activity, hours and taste."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.draws import Floats, Ints, draw_between, draw_places
from pipelines.simulation.simulate_config import SimulateConfig
from pipelines.simulation.world import HOURS, World

FAVOURITE_ARTISTS = 6
"""Number of favourite artists of each user in each genre, the dearest first."""
FAVOURITE_TRACKS = 12
"""Number of favourite tracks of each user in each genre, the dearest first."""
SCENE_WIDTH = 0.25
"""Width of a user's favourite artists, as a share of the genre's circle of scenes."""
CANDIDATES = 4
"""Number of artists near a point of the scene from which a favourite is drawn by appeal."""
WEEKEND_SPREAD = 0.4
WEEK = np.array([1.0, 1.02, 1.02, 1.0, 0.98, 0.86, 0.90])
"""Activity of all users together on Monday, ..., Sunday."""
HOUR_FOCUS = 2.5
"""Concentration (von Mises density) of session starts around a user's two peaks of the day."""


@dataclass(frozen=True)
class Users:
    """The lasting traits of users; every array has one row a user."""

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


def draw_users(seed: np.random.SeedSequence, world: World, config: SimulateConfig, users: int) -> Users:
    """Draw `users` of the log's users."""
    rng = np.random.default_rng(seed)
    genres = len(world.genre_popularity)
    dirichlet = rng.dirichlet(0.3 * genres * world.genre_popularity + 0.2, size=users)
    # Users who like a genre also like its neighbours a little.
    taste = 0.85 * dirichlet + 0.15 * dirichlet @ world.genre_near
    peaks = rng.choice([8.0, 13.0, 18.0, 21.0], size=(users, 2)) + rng.normal(0.0, 1.5, (users, 2))
    angle = 2 * np.pi * (np.arange(HOURS)[None, None, :] + 0.5 - peaks[:, :, None]) / HOURS
    bumps = np.exp(HOUR_FOCUS * (np.cos(angle) - 1.0))
    bumps /= bumps.sum(axis=2, keepdims=True)
    weekend = np.where(WEEK < 0.95, rng.lognormal(-(WEEKEND_SPREAD**2) / 2, WEEKEND_SPREAD, (users, 1)), 1.0)
    weekdays = rng.gamma(8.0, size=(users, 7)) * WEEK * weekend
    late = (rng.random(users) < config.new_users) & (config.days > 1)
    spread = config.activity_spread
    artists, tracks = _favourites(rng, world, users)
    return Users(
        joined=np.where(late, rng.integers(1, max(config.days, 2), users), 0),
        activity=config.sessions_per_day * rng.lognormal(-(spread**2) / 2, spread, users),
        impatience=rng.gamma(4.0, 0.25, users).astype(np.float32),
        taste=taste.astype(np.float32),
        hours=(0.60 * bumps[:, 0] + 0.25 * bumps[:, 1] + 0.15 / HOURS).astype(np.float32),
        weekdays=(weekdays / weekdays.mean(axis=1, keepdims=True)).astype(np.float32),
        artists=artists,
        tracks=tracks,
    )


def _favourites(rng: np.random.Generator, world: World, users: int) -> tuple[Ints, Ints]:
    """Draw favourite artists near each other in the scenes of their genre, so that users who share one share more."""
    genres = len(world.genre_popularity)
    artists = np.empty((users, genres, FAVOURITE_ARTISTS), np.int32)
    tracks = np.empty((users, genres, FAVOURITE_TRACKS), np.int32)
    available, track_first = world.available(0), world.artist_first
    every_user = np.arange(users)[:, None]
    for genre in range(genres):
        first, end = world.genre_first[genre : genre + 2].tolist()
        near = SCENE_WIDTH * rng.standard_normal((users, FAVOURITE_ARTISTS, CANDIDATES), np.float32)
        scene = rng.random((users, 1, 1)) + near
        candidates = np.minimum(first + (end - first) * (scene - np.floor(scene)), end - 1).astype(np.int32)
        # The least of exponential waiting times is a draw in proportion to their rates.
        waiting = rng.standard_exponential(candidates.shape, np.float32) / world.artist_popularity[candidates]
        best = waiting.argmin(axis=2)[:, :, None]
        artists[:, genre] = np.take_along_axis(candidates, best, axis=2)[:, :, 0]
        place = draw_places(rng, users * FAVOURITE_TRACKS, FAVOURITE_ARTISTS).reshape(users, FAVOURITE_TRACKS)
        artist = artists[every_user, genre, place].ravel()
        # The search is within the genre, whose weights fit into the processor's cache.
        low, high = track_first[[first, end]].tolist()
        weights = available[low : high + 1]
        drawn = low + draw_between(rng, weights, track_first[artist] - low, track_first[artist + 1] - low)
        tracks[:, genre] = drawn.reshape(users, FAVOURITE_TRACKS)
    return artists, tracks
