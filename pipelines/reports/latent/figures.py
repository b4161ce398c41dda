"""The figures of a latent space, as the report shows them.

Shape suffixes: N states, C clusters, S steps, A dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.evaluation.latent_use import LatentUse
from fsvae.latent.anomaly import Anomalies, ReconstructionErrors
from fsvae.latent.maps import Clusters, Space
from fsvae.latent.paths import Path, Smoothness
from fsvae.models.model_config import ModelConfig

MOMENTS = 2000
"""So many states are on the maps."""
USERS = 2000
"""Among so many users neighbours are looked for."""
CHOSEN = 3
"""So many users are followed, unless they are named."""
DAYS = 28
"""Over so many days."""
CLUSTERS = 8
"""Of taste, and of the tracks just heard."""
NEAREST = 5
"""Neighbours of a chosen user that are named."""
NEAREST_STATES = 10
"""Neighbours of a state that are looked at."""
TRAVERSED = 12
"""Dimensions whose traversal is named track by track, at most."""
STEPS = 10
"""From one user to another."""
PAIRS = 300
"""Of users drawn by chance."""
LATEST = 50
"""A user's anomaly score is over so many of the latest listens."""
LEAST = 10
"""A user with fewer has none."""
ANOMALIES_SHOWN = 10
"""Users and listens that are named as surprising."""


@dataclass(frozen=True)
class Maps:
    """The maps of some users' states."""

    user_N: NDArray[np.int64]
    hour_N: NDArray[np.int64]
    """[N] hour of day, UTC."""
    principal_N2: NDArray[np.float64]
    tsne_N2: NDArray[np.float64] | None
    """None for a handful of states."""
    taste: Clusters
    """Of slow taste as of the day of each state."""
    last: Clusters
    """Of the track heard last before each state."""
    taste_tracks: list[list[str]]
    """For each cluster of taste the tracks nearest to its centre."""
    last_tracks: list[list[str]]
    agreement: dict[str, tuple[float, float]]
    """taste, last track (the same cluster), hour (at most one apart) → share of neighbours, and of all pairs."""


@dataclass(frozen=True)
class Neighbour:
    """A user near a chosen one."""

    user_id: str
    distance: float
    """In units of the space of the side."""
    taste: float
    """Cosine of the tastes of the last 28 days; NaN where one of the two has none."""
    shared: float
    """Share of the tracks that either has heard which both have."""


@dataclass(frozen=True)
class Chosen:
    """A user that is followed."""

    user_id: str
    listens: int
    """Of the last days."""
    paths: dict[str, Path]
    """Side (slow, fast, both) → where the user was on each day on which anything was known of the taste."""
    neighbours: dict[str, list[Neighbour]]
    """Side (both, slow) → the nearest users, and last the means over all other users. None by the slow side of a user
    of whom it knows nothing."""


@dataclass(frozen=True)
class Walk:
    """The way from one user to another."""

    begin: str
    end: str
    tracks: list[str]
    """[S + 1] the track nearest to what is decoded at each stop."""
    to_begin: NDArray[np.float64]
    """[S + 1] cosine of what is decoded there and at the beginning."""
    to_end: NDArray[np.float64]
    to_next: NDArray[np.float64]
    """[S]"""
    smoothness: Smoothness
    """Of random pairs of users."""


@dataclass(frozen=True)
class Traversal:
    """What each active dimension moves when it moves alone."""

    dimensions: NDArray[np.int64]
    """[A] those that say most first."""
    tracks: list[list[str]]
    """[A][stops]"""
    turn: NDArray[np.float64]
    """[A] angle between what is decoded at the two ends [degrees]."""


@dataclass(frozen=True)
class AnomalousListen:
    """A listen that the model did not expect."""

    user_id: str
    played_at: int
    """Microseconds since 1970 UTC."""
    nll: float
    track: str
    expected: str
    """The track that it would have recommended."""
    heard: int
    """How many times the user had heard the track before."""


@dataclass(frozen=True)
class LatentFigures:
    """All that the report shows."""

    run: str
    model: ModelConfig
    since_us: int
    """The maps, the use of the latent and the errors are of listens from here on, new to the model."""
    space: Space
    use: LatentUse
    kl_of_mean_Z: NDArray[np.float64]
    """[Z] the part of the KL of each dimension that is paid for the mean; the rest is paid for the variance."""
    maps: Maps
    chosen: list[Chosen]
    asked: int
    """Among so many users neighbours are looked for,"""
    unknown: int
    """and of so many of them the slow side knows nothing."""
    walk: Walk
    traversal: Traversal
    errors: ReconstructionErrors
    anomalies: Anomalies
    anomalous: list[AnomalousListen]
    user_ids: list[str]
    """Of all users, by index."""
