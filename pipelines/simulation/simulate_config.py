"""What can be set of the simulated log, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fsvae.errors import UserError

MAX_PLAYS = 60
"""Longest session, in plays."""
MAX_SESSIONS = 8
"""Most sessions that one user begins in a day."""


@dataclass
class SimulateConfig:
    """Size and habits of the simulated log. The same values give the same bytes."""

    users: int = 800
    """Users in all, those who join later included."""
    tracks: int = 3000
    """Tracks in the catalogue, those that come out later included."""
    artists: int = 300
    """Artists; each has at least one track."""
    genres: int = 10
    """Genres, neighbours on a circle; each has at least one artist."""
    days: int = 28
    """Days of the log, one file each."""
    start: str = "2026-01-05"
    """First day (UTC), YYYY-MM-DD."""
    seed: int = 7
    """Seed of everything that is drawn."""
    sessions_per_day: float = 0.92
    """Mean listening sessions of a user in a day."""
    activity_spread: float = 1.0
    """How widely users differ in that: standard deviation of the logarithm (0: all alike)."""
    plays_per_session: float = 12.0
    """Mean plays, listens and skips, in a session."""
    session_spread: float = 0.9
    """How widely sessions differ in that: standard deviation of the logarithm."""
    drift: float = 0.08
    """Chance, before each play, that the session's mood moves to a neighbouring genre."""
    fresh_starts: float = 0.25
    """Chance that a session's first mood comes of the lasting taste, whatever the user has leaned to of late."""
    exploration: float = 0.26
    """Share of the plays outside albums that are no favourite and no replay."""
    albums: float = 0.1
    """Chance that a track is followed by the next one on its album; within an album it is 0.65 at least."""
    routine: float = 0.25
    """Chance that a favourite is followed by the next one on the user's own list."""
    replay: float = 0.03
    """Chance that a play repeats the one just before it."""
    popularity: float = 0.9
    """Zipf exponent of the artists' popularity, and of the tracks of each artist (0: all alike)."""
    new_tracks: float = 0.12
    """Share of the tracks that come out during the log."""
    new_users: float = 0.15
    """Share of the users that join during the log."""


def check_config(config: SimulateConfig) -> date:
    """Return the first day; every value that cannot be is refused by its name.

    Raises:
        UserError: a value is impossible.
    """
    ranges: dict[str, tuple[float, float]] = {
        "users": (1, 10_000_000),
        "genres": (1, 1_000),
        "artists": (config.genres, 1_000_000),
        "tracks": (config.artists, 10_000_000),
        "days": (1, 3_660),
        "seed": (0, 2**63 - 1),
        "sessions_per_day": (0.01, MAX_SESSIONS),
        "activity_spread": (0, 3),
        "plays_per_session": (1, MAX_PLAYS),
        "session_spread": (0, 3),
        "drift": (0, 1),
        "fresh_starts": (0, 1),
        "exploration": (0, 1),
        "albums": (0, 1),
        "routine": (0, 1),
        "replay": (0, 0.5),
        "popularity": (0, 3),
        "new_tracks": (0, 0.5),
        "new_users": (0, 0.9),
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        # Written so that a NaN is refused too.
        if not low <= value <= high:
            raise UserError(f"simulate.{name}: {value} is not between {low} and {high}.")
    try:
        return date.fromisoformat(config.start)
    except ValueError as error:
        raise UserError(f"simulate.start: '{config.start}' is not a day such as 2026-01-31.") from error
