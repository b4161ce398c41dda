"""The figures of a latent space in the report.

Shape suffixes: N states, S stops, Z latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.evaluation.latent_use import LatentUse
from fsvae.latent.anomaly import Anomalies, ReconstructionErrors
from fsvae.latent.maps import Clusters, Space
from fsvae.latent.paths import Path
from fsvae.models.model_config import ModelConfig

MAPPED_STATES = 2000
"""Number of states on the maps."""
FOLLOWED_USERS = 3
"""Number of users whose drift is shown, unless they are named."""
DRIFT_DAYS = 28
"""Number of days over which drift is shown."""
CLUSTERS = 8
"""Number of clusters of tastes, and of the tracks just heard."""
NEAREST_STATES = 10
"""Number of neighbours with which each state is compared."""
STEPS = 10
"""Number of steps from one user to another."""
LATEST = 50
"""Number of a user's latest listens over which the anomaly score is a mean."""
LEAST = 10
"""Number of listens below which a user has no score."""
ANOMALIES_SHOWN = 10
"""Number of anomalous users and of anomalous listens that are named."""


@dataclass(frozen=True)
class Maps:
    """The map of some users' states, and the colours of its dots."""

    user_N: NDArray[np.int64]
    hour_N: NDArray[np.int64]
    """[N] hour of day, UTC."""
    principal_N2: NDArray[np.float64]
    """[N, 2] coordinates along the principal axes of the states."""
    taste: Clusters
    """Clusters of the slow tastes as of the day of each state."""
    last: Clusters
    """Clusters of the tracks heard last before each state."""
    taste_tracks: list[list[str]]
    """Tracks nearest to the centre of each cluster of taste."""
    last_tracks: list[list[str]]
    """Tracks nearest to the centre of each cluster of last tracks."""
    agreement: dict[str, tuple[float, float]]
    """Kind of agreement (taste or last track: the same cluster; hour: at most one apart) → share of neighbours, and of
    all pairs."""


@dataclass(frozen=True)
class FollowedUser:
    """A user whose drift is shown."""

    user_id: str
    listens: int
    """Number of listens in the last days."""
    paths: dict[str, Path]
    """Side (slow, fast, both) → path over the days on which the taste was known."""


@dataclass(frozen=True)
class Walk:
    """The way from one user to another."""

    begin: str
    end: str
    tracks: list[str]
    """[S] track nearest to the decoded direction at each stop."""
    to_begin: NDArray[np.float64]
    """[S] cosine of the decoded directions at each stop and at the beginning."""
    to_end: NDArray[np.float64]
    """[S] cosine of the decoded directions at each stop and at the end."""
    to_next: NDArray[np.float64]
    """[S - 1] cosine of the decoded directions at each stop and at the next."""


@dataclass(frozen=True)
class AnomalousListen:
    """A listen that the model did not expect."""

    user_id: str
    played_at: int
    """Time of the listen [us since 1970 UTC]."""
    nll: float
    track: str
    expected: str
    """Track that the model would have recommended."""
    heard: int
    """Number of times that the user had heard the track before."""


@dataclass(frozen=True)
class LatentFigures:
    """All figures of the report."""

    run: str
    model: ModelConfig
    since_us: int
    """Time from which on listens are new to the model [us]; maps, use of the latent and errors are over these."""
    space: Space
    use: LatentUse
    kl_of_mean_Z: NDArray[np.float64]
    """[Z] part of the KL of each dimension due to the mean [nats]; the rest is due to the variance."""
    maps: Maps
    followed: list[FollowedUser]
    walk: Walk
    errors: ReconstructionErrors
    anomalies: Anomalies
    anomalous: list[AnomalousListen]
    user_ids: list[str]
    """Ids of all users, by index."""
