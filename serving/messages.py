"""The endpoint's requests and answers, checked and bounded."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from fsvae.online_question import Repeats
from fsvae.schema import EARLIEST, LATEST, MAX_ID_LENGTH
from serving.serve_config import MAX_K

MAX_RECENT = 500
MAX_RECENT_TOGETHER = 4_096
"""Most recent listens of all requests of one body: each is a step of the model, for which others wait."""
MAX_POSTED = 500
MAX_BATCH = 64
MAX_NAMED = 10_000
"""Most tracks that a request may exclude or allow; the first one that is wrong ends the check (fail_fast)."""
MAX_SEED = 2**63 - 1


def _possible(time: datetime) -> datetime:
    if not EARLIEST <= time <= LATEST:
        raise ValueError(f"not between {EARLIEST.year} and {LATEST.year}")
    return time


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
Text = Annotated[str, Field(min_length=1, max_length=1_000)]
Time = Annotated[AwareDatetime, AfterValidator(_possible)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class Checked(BaseModel):
    """A message without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid")


class Listen(Checked):
    """A recent listen: only the track is required."""

    track_id: Id
    played_at: Time | None = Field(
        None, description="ISO 8601 with a time zone, or seconds since 1970; without it, 3.5 minutes apart"
    )
    played_fraction: Fraction = Field(1.0, description="share of the track that was heard")


def _listen(value: Any) -> Any:
    """Accept a bare id as a listen; a union of types would report errors of both its branches."""
    if isinstance(value, str):
        return {"track_id": value}
    if isinstance(value, dict | Listen):
        return value
    raise ValueError("neither a track id nor an object with a track_id")


class Exclude(Checked):
    """What must not be recommended."""

    tracks: list[Id] = Field(default_factory=list, max_length=MAX_NAMED, fail_fast=True, description="ids of tracks")
    artists: list[Id] = Field(
        default_factory=list, max_length=MAX_NAMED, fail_fast=True, description="ids or names of artists"
    )


class NextTracksRequest(Checked):
    """Who asks, what they have just heard, and which tracks they want."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"user_id": "u00042", "recent": ["t000017"], "k": 5, "repeats": "reduced", "explain": True}
        }
    )
    user_id: Id | None = None
    recent: list[Annotated[Listen, BeforeValidator(_listen, json_schema_input_type=Id | Listen)]] = Field(
        default_factory=list, max_length=MAX_RECENT, description="oldest first: track ids, or listens with their times"
    )
    k: int = Field(10, ge=1, le=MAX_K)
    at: Time | None = Field(
        None,
        description="time of the request, ISO 8601 with a time zone or seconds since 1970; now if it is not given. A "
        "recent listen may be a little later, as clocks differ: then it is the time of the request",
    )
    exclude: Exclude = Field(default_factory=Exclude, description="tracks and artists that are not wanted")
    only: list[Id] | None = Field(
        None, max_length=MAX_NAMED, fail_fast=True, description="the only tracks that are wanted; any if null"
    )
    repeats: Repeats = Field(
        "allowed",
        description="tracks that the user has heard: allowed, reduced to a tenth of their score, or forbidden",
    )
    diversity: float = Field(
        0.0,
        ge=0.0,
        le=5.0,
        allow_inf_nan=False,
        description="how far from the mean of the latent state to draw, in its standard deviations; 0: the mean itself",
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="seed of that draw; another draw each time if null")
    explain: bool = Field(False, description="say for each track what its score rests on")

    @model_validator(mode="after")
    def _in_order(self) -> NextTracksRequest:
        if self.user_id is None and not self.recent:
            raise ValueError("give user_id, or recent listens, or both")
        times = [listen.played_at for listen in self.recent if listen.played_at]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError("recent must be in order of played_at, oldest first")
        return self


class NextTracksBatch(Checked):
    """Several requests, answered together."""

    requests: list[NextTracksRequest] = Field(
        min_length=1, max_length=MAX_BATCH, description=f"with at most {MAX_RECENT_TOGETHER:,} recent listens in all"
    )

    @model_validator(mode="after")
    def _check_recent(self) -> NextTracksBatch:
        recent = sum(len(one.recent) for one in self.requests)
        if recent > MAX_RECENT_TOGETHER:
            raise ValueError(
                f"{recent:,} recent listens in all, more than {MAX_RECENT_TOGETHER:,}: send fewer requests"
            )
        return self


ONE, BATCH = "one", "batch"
OneOrBatch = Annotated[
    Annotated[NextTracksRequest, Tag(ONE)] | Annotated[NextTracksBatch, Tag(BATCH)],
    Discriminator(lambda value: BATCH if isinstance(value, dict) and "requests" in value else ONE),
]


class PostedListen(Checked):
    """A listen that has just happened, or another thing that a user did with a track."""

    event_id: Id = Field(
        description="id of the event, your own: the same one of a user is stored once, however often it is sent"
    )
    user_id: Id
    track_id: Id
    kind: Literal["listen", "skip", "like", "unlike", "save", "dislike", "undislike"] = Field(
        "listen", description="only a listen is part of the history; a disliked track is not recommended to this user"
    )
    played_at: Time | None = Field(
        None, description="ISO 8601 with a time zone, or seconds since 1970; now if it is not given"
    )
    played_fraction: Fraction = Field(1.0, description="share of the track that was heard")


class ListensRequest(Checked):
    """Listens and other events, of any users."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "listens": [
                    {"event_id": "3b9e", "user_id": "u00042", "track_id": "t000017"},
                    {"event_id": "3b9f", "user_id": "u00042", "track_id": "t000018", "kind": "dislike"},
                ]
            }
        },
    )
    listens: list[PostedListen] = Field(min_length=1, max_length=MAX_POSTED)


class ListensAnswer(BaseModel):
    """What became of posted listens: when it is given, they are on disk."""

    stored: int = Field(description="events that were not there before")
    known_already: int = Field(description="events whose id was there before")


class TrackShares(BaseModel):
    """What a score rests on, as shares that sum to 1."""

    mood: float = Field(description="present mood: what the recent listens alone would have the network expect")
    taste: float = Field(description="long-term taste: what the slow features alone would have it expect")
    own_memory: float = Field(description="what this user did before")
    shared_memory: float = Field(description="what everybody did")


class Track(BaseModel):
    """A recommended track."""

    track_id: str
    score: float = Field(
        description="probability that the track is next; of a model without a memory, the cosine similarity of the "
        "track and what the model searches for"
    )
    title: str | None
    artist: str | None
    shares: TrackShares | None = Field(None, description="what the score rests on, if explain was asked for")


class NextTracksAnswer(BaseModel):
    """The tracks, best first, and what they rest on."""

    user_id: str | None
    known_user: bool = Field(description="whether anything that the user heard is known")
    recent_used: int = Field(description="recent listens that were not in the known history yet")
    unknown_tracks: list[str] = Field(description="recent tracks that are not known")
    uncertainty: float | None = Field(description="mean standard deviation of the latent posterior")
    mood_from_taste: float | None = Field(
        None, description="how far the mood is from the taste, 0 to 2, if explain was asked for"
    )
    model_version: str
    tracks: list[Track]


class Fault(BaseModel):
    """What is wrong with a field of a request."""

    loc: list[str | int]
    msg: str
    type: str


class Refusal(BaseModel):
    """What is wrong with a request."""

    detail: list[Fault]


class Problem(BaseModel):
    """What is wrong with a request as a whole."""

    detail: str


class NextTracksAnswers(BaseModel):
    """An answer to each request of a batch, or what is wrong with it, in their order."""

    answers: list[NextTracksAnswer | Refusal]


class UserSummary(BaseModel):
    """What is known of a user."""

    user_id: str
    known_user: bool = Field(description="whether anything that the user heard is known")
    listens: int = Field(description="number of listens, those in the model's dataset too")
    posted_listens: int = Field(description="number of those that were posted since the model's dataset ends")
    last_played_at: datetime | None
    latest: list[str] = Field(description="tracks of the latest posted listens, the last one first, at most 10")
    liked: list[str]
    disliked: list[str] = Field(description="tracks that are not recommended to this user")


class SimilarTrack(BaseModel):
    """A track that is similar to another."""

    track_id: str
    score: float = Field(description="cosine similarity in the track space")
    title: str | None
    artist: str | None


class SimilarAnswer(BaseModel):
    """Tracks similar to one, most similar first."""

    track_id: str
    model_version: str
    tracks: list[SimilarTrack]


class TrackMetadata(Checked):
    """Metadata of a track that is added: from artist and album it gets a place in the track space."""

    title: Text | None = None
    artist_id: Id | None = None
    artist_name: Text | None = None
    album: Text | None = None


class OnlineAccuracy(BaseModel):
    """How well the tracks that users then played were ranked, by the model that served."""

    model_version: str
    listens: int = Field(description="listens whose rank was taken")
    recall_at_10: float
    mrr: float
    ndcg_at_10: float


class ModelAnswer(BaseModel):
    """The model that is served, and how well it does."""

    model_version: str
    dataset: str = Field(description="fingerprint of the dataset that it was trained on")
    dataset_until: datetime = Field(description="time of the last listen of that dataset")
    users: int
    tracks: int
    added_tracks: int
    hidden_tracks: int
    settings: dict[str, Any] = Field(description="settings of the model")
    last_hour: list[OnlineAccuracy]
    last_day: list[OnlineAccuracy]
