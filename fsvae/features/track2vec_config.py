"""Settings of the track space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Share


@dataclass
class Track2VecConfig:
    """Settings of track2vec, which learns the track space; the defaults are measured (docs/track_space.md)."""

    dim: Annotated[int, Interval(ge=1, le=10_000)] = 80
    """Dimensions of the track space (paper, section 4.1: 80)."""
    epochs: Annotated[int, Interval(ge=1, le=10_000)] = 30
    """Passes over the sessions; fewer lower recall on every log, more suit large logs and overfit small ones."""
    window: Annotated[int, Interval(ge=1, le=1_000)] = 5
    """Number of neighbours on each side of a listen that are its context; 10 takes twice the time."""
    negative: Annotated[int, Interval(ge=1, le=1_000)] = 10
    """Number of negative samples per pair."""
    ns_exponent: Annotated[float, Interval(ge=-2.0, le=2.0)] = 0.75
    """Popularity exponent of the negatives: 0 is uniform, 1 proportional to listens, below 0 favours rare tracks."""
    sample: Share = 0.0003
    """Share of all listens above which a track's listens are subsampled; 0 keeps them all."""
