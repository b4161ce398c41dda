"""What the online recommender is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fsvae.errors import UserError

Repeats = Literal["allowed", "reduced", "forbidden"]
"""What becomes of tracks that the user has heard: they count in full, a tenth, or not at all."""


class RequestError(UserError):
    """A fault of one question."""

    def __init__(self, field: str, message: str) -> None:
        """Name the field at fault."""
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class RecentListen:
    """A recent listen given in a request."""

    track_id: str
    played_at: int | None = None
    """Time of the listen [us since 1970 UTC]."""
    played_fraction: float = 1.0


@dataclass(frozen=True)
class Question:
    """Who asks for the next tracks, when, and for which."""

    user_id: str | None = None
    """User whose stored state is continued; None, or an unknown id, starts a new one."""
    recent: tuple[RecentListen, ...] = ()
    """Listens in order of time; those no later than the stored history are in it already."""
    k: int = 10
    """Number of tracks."""
    at: int | None = None
    """Time of the request [us since 1970 UTC]; None: now, but no earlier than the user's last listen."""
    skew_us: int = 0
    """Largest time by which a listen, recent or stored, may be later than the request, as clocks differ [us]; the
    request then counts as made at the time of that listen."""
    exclude_tracks: tuple[str, ...] = ()
    """Ids of tracks that are not wanted."""
    exclude_artists: tuple[str, ...] = ()
    """Ids or names of artists that are not wanted."""
    only: tuple[str, ...] | None = None
    """Ids of the only tracks that are wanted; None: any."""
    repeats: Repeats = "allowed"
    diversity: float = 0.0
    """How far from the mean of the latent state the recommendations are drawn, in standard deviations."""
    seed: int | None = None
    """Seed of that draw."""
    explain: bool = False


@dataclass(frozen=True)
class Shares:
    """What a recommendation rests on: shares of its score, which sum to 1."""

    mood: float
    """The present mood: the network's part, as far as the recent listens alone would give it."""
    taste: float
    """The long-term taste: the network's part, as far as the slow features alone would give it."""
    own_memory: float
    """What the user did before."""
    shared_memory: float
    """What everybody did."""


@dataclass(frozen=True)
class RecommendedTrack:
    """A recommended track of an answer."""

    track_id: str
    score: float
    """Cosine similarity of the track and the query, from -1 to 1; its probability for a model with a memory."""
    title: str | None
    artist: str | None
    shares: Shares | None = None


@dataclass(frozen=True)
class Answer:
    """The answer of the model to a request."""

    tracks: list[RecommendedTrack]
    known_user: bool
    recent_used: int
    """Number of recent listens that the prediction read, without those that the user's stored history covers."""
    unknown_tracks: list[str]
    """Ids among the recent listens that the model does not know; they count as listens, but carry no taste."""
    uncertainty: float | None
    """Mean standard deviation of the posterior over the latent dimensions; none for a deterministic latent."""
    mood_from_taste: float | None = None
    """Cosine distance of what mood alone and taste alone expect next, from 0 to 2; None unless it is explained."""
