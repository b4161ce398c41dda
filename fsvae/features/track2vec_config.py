"""How a track space is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Share


@dataclass
class Track2VecConfig:
    """How the track space is learned; the defaults are measured (docs/track_space.md)."""

    dim: Annotated[int, Interval(ge=1, le=10_000)] = 80
    """Dimensions of the track space (paper, section 4.1: 80)."""
    epochs: Annotated[int, Interval(ge=1, le=10_000)] = 30
    """Passes over the sessions; fewer cost recall on every log, more suit large logs and make small ones overfit."""
    window: Annotated[int, Interval(ge=1, le=1_000)] = 5
    """Neighbours on each side of a listen that count as its context; 10 takes twice the time."""
    negative: Annotated[int, Interval(ge=1, le=1_000)] = 10
    """Negative samples per pair."""
    ns_exponent: Annotated[float, Interval(ge=-2.0, le=2.0)] = 0.75
    """Popularity exponent of the negatives: 0 is uniform, 1 by listens, below 0 rare tracks are drawn most."""
    sample: Share = 0.0003
    """Share of all listens beyond which a track's listens are thinned out; 0 keeps them all."""
