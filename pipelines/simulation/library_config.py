"""Settings of the users' libraries in the simulated log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Share


@dataclass
class LibraryConfig:
    """The users' libraries: what they have found, to which they return after weeks and months; by default none."""

    returns: Share = 0.0
    """Chance that what would be a favourite comes from one of the user's spells; 0: there are no libraries."""
    size: Annotated[int, Interval(ge=100, le=1_000_000)] = 4096
    """Number of tracks of a full library (4 bytes each, for every user)."""
    spells: Annotated[int, Interval(ge=1, le=1_000)] = 8
    """Number of spells at a time: stretches of the library that the user returns to, and plays in order."""
    spell_days: Annotated[float, Interval(ge=1, le=10_000)] = 30.0
    """Mean days before a spell is over and another one begins anywhere in the library."""
    adoption: Share = 0.0
    """Chance that an artist new to the user, whose track becomes a favourite, becomes a favourite artist."""
    breadth: Annotated[float, Interval(ge=0, le=2)] = 0.0
    """Exponent of a user's activity in the share of exploration: above 0, busy users explore more."""
