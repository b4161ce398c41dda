"""Settings of the simulated log, and their checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

from annotated_types import Interval

from fsvae.errors import UserError
from fsvae.limits import Share
from pipelines.simulation.library_config import LibraryConfig

MAX_PLAYS = 60
"""Length of the longest session [plays]."""
MAX_SESSIONS = 8
"""Largest number of sessions that one user begins in a day."""


@dataclass
class SimulateConfig:
    """Size and habits of the simulated log. The same values give the same bytes."""

    users: Annotated[int, Interval(ge=1, le=10_000_000)] = 800
    """Number of users, those who join later included."""
    tracks: Annotated[int, Interval(ge=1, le=10_000_000)] = 3000
    """Number of tracks in the catalogue, those that come out later included."""
    artists: Annotated[int, Interval(ge=1, le=1_000_000)] = 300
    """Number of artists; each has at least one track."""
    genres: Annotated[int, Interval(ge=1, le=1_000)] = 10
    """Number of genres, neighbours on a circle; each has at least one artist."""
    days: Annotated[int, Interval(ge=1, le=3_660)] = 28
    """Number of days of the log, one file each."""
    start: str = "2026-01-05"
    """First day (UTC), YYYY-MM-DD."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 7
    """Seed of all draws."""
    sessions_per_day: Annotated[float, Interval(ge=0.01, le=MAX_SESSIONS)] = 0.92
    """Mean number of listening sessions of a user in a day."""
    activity_spread: Annotated[float, Interval(ge=0, le=3)] = 1.0
    """Spread of users' sessions per day: standard deviation of the logarithm (0: all alike)."""
    plays_per_session: Annotated[float, Interval(ge=1, le=MAX_PLAYS)] = 12.0
    """Mean number of plays (listens and skips) in a session."""
    session_spread: Annotated[float, Interval(ge=0, le=3)] = 0.9
    """Spread of sessions' plays: standard deviation of the logarithm (0: all alike)."""
    drift: Share = 0.08
    """Chance, before each play, that the session's mood moves to a neighbouring genre."""
    fresh_starts: Share = 0.25
    """Chance that a session's first mood comes from the lasting taste and not from the present leaning."""
    exploration: Share = 0.26
    """Share of the plays outside albums that are neither a favourite nor a replay."""
    albums: Share = 0.1
    """Chance that a track is followed by the next one on its album; within an album it is 0.65 at least."""
    routine: Share = 0.25
    """Chance that a favourite is followed by the next one on the user's own list."""
    replay: Annotated[float, Interval(ge=0, le=0.5)] = 0.03
    """Chance that a play repeats the one just before it."""
    popularity: Annotated[float, Interval(ge=0, le=3)] = 0.9
    """Zipf exponent of the artists' popularity, and of the tracks of each artist (0: all alike)."""
    new_tracks: Annotated[float, Interval(ge=0, le=0.5)] = 0.12
    """Share of the tracks that come out during the log."""
    new_users: Annotated[float, Interval(ge=0, le=0.9)] = 0.15
    """Share of the users that join during the log."""
    library: LibraryConfig = field(default_factory=LibraryConfig)

    def __post_init__(self) -> None:
        """Check sizes together, and the first day.

        Raises:
            UserError: there are fewer artists than genres, or fewer tracks than artists, or the first day is not a day.
        """
        for more, fewer in (("artists", "genres"), ("tracks", "artists")):
            if getattr(self, more) < getattr(self, fewer):
                raise UserError(f"simulate.{more}={getattr(self, more)} is less than simulate.{fewer}: each needs one.")
        try:
            date.fromisoformat(self.start)
        except ValueError as error:
            raise UserError(f"simulate.start: '{self.start}' is not a day such as 2026-01-31.") from error
