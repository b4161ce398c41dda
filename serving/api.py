"""The endpoint's requests and answers, checked and bounded, and the FastAPI routes over a recommender."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from email.message import Message
from itertools import pairwise
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fsvae.errors import UserError
from fsvae.online_recommender import OnlineRecommender, RecentListen
from fsvae.schema import EARLIEST, LATEST, MAX_ID_LENGTH
from serving.listen_store import ListenStore, Posted, StoreError
from serving.serve_config import MAX_K

MAX_RECENT = 500
MAX_POSTED = 500
MAX_BODY_BYTES = 1 << 20


def _possible(time: datetime) -> datetime:
    if not EARLIEST <= time <= LATEST:
        raise ValueError(f"not between {EARLIEST.year} and {LATEST.year}")
    return time


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
Time = Annotated[AwareDatetime, AfterValidator(_possible)]


class Listen(BaseModel):
    """A recent listen: only the track is required."""

    model_config = ConfigDict(extra="forbid")
    track_id: Id
    played_at: Time | None = Field(
        None, description="ISO 8601 with a time zone, or seconds since 1970; without it, 3.5 minutes apart"
    )
    played_fraction: float = Field(
        1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="share of the track that was heard"
    )


def _listen(value: Any) -> Any:
    """Accept a bare id as a listen; a union of types would report errors of both its branches."""
    if isinstance(value, str):
        return {"track_id": value}
    if isinstance(value, dict | Listen):
        return value
    raise ValueError("neither a track id nor an object with a track_id")


class NextTracksRequest(BaseModel):
    """Who asks, what they have just heard, and how many tracks they want."""

    model_config = ConfigDict(extra="forbid")
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

    @model_validator(mode="after")
    def _in_order(self) -> NextTracksRequest:
        if self.user_id is None and not self.recent:
            raise ValueError("give user_id, or recent listens, or both")
        times = [listen.played_at for listen in self.recent if listen.played_at]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError("recent must be in order of played_at, oldest first")
        return self


class PostedListen(BaseModel):
    """A listen that has just happened."""

    model_config = ConfigDict(extra="forbid")
    event_id: Id = Field(
        description="id of the event, your own: the same one of a user is stored once, however often it is sent"
    )
    user_id: Id
    track_id: Id
    played_at: Time | None = Field(
        None, description="ISO 8601 with a time zone, or seconds since 1970; now if it is not given"
    )
    played_fraction: float = Field(
        1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="share of the track that was heard; little for a skip"
    )


class ListensRequest(BaseModel):
    """Listens, of any users."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "listens": [
                    {"event_id": "3b9e", "user_id": "u00042", "track_id": "t000017"},
                    {"event_id": "3b9f", "user_id": "u00042", "track_id": "t000018", "played_fraction": 0.1},
                ]
            }
        },
    )
    listens: list[PostedListen] = Field(min_length=1, max_length=MAX_POSTED)


class ListensAnswer(BaseModel):
    """What became of posted listens: when it is given, they are on disk."""

    stored: int = Field(description="listens that were not there before")
    known_already: int = Field(description="listens whose event id was there before")


class Track(BaseModel):
    """A recommended track."""

    track_id: str
    score: float = Field(
        description="cosine similarity of the track and what the model searches for, or, if the model has a repeat "
        "head, the probability that the track is next"
    )
    title: str | None
    artist: str | None


class NextTracksAnswer(BaseModel):
    """The tracks, best first, and what they rest on."""

    user_id: str | None
    known_user: bool = Field(description="whether the user's history was known to the model")
    recent_used: int = Field(description="recent listens that were not in the known history yet")
    unknown_tracks: list[str] = Field(description="recent tracks that the catalogue lacks")
    uncertainty: float | None = Field(description="mean standard deviation of the latent posterior")
    model_version: str
    tracks: list[Track]


def create_app(
    recommender: Callable[[], OnlineRecommender],
    store: ListenStore,
    model_version: str,
    token: str | None,
    clock_skew_s: float,
) -> FastAPI:
    """Return the routes.

    Args:
        recommender: function that returns the recommender; called at each request, in one thread: threads that take
            turns at the interpreter answer fewer requests than one.
        store: the store of posted listens, which the recommender reads.
        model_version: version named in every answer.
        token: bearer token that requests to /v1 must carry; None: none is required.
        clock_skew_s: largest time by which a recent listen may be later than its request, and a posted one than this
            machine's clock [s].
    """
    one_thread = ThreadPoolExecutor(1, "recommender")
    app = FastAPI(title="FS-VAE", description="Next tracks from slow taste and fast mood.", version=model_version)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if token is not None and request.url.path.startswith("/v1"):
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return JSONResponse({"detail": "a bearer token is required"}, 401, {"WWW-Authenticate": "Bearer"})
        length = request.headers.get("content-length")
        if request.method == "POST" and (length is None or not length.isdigit()):
            return JSONResponse({"detail": "a Content-Length header is required"}, 411)
        if length is not None and int(length) > MAX_BODY_BYTES:
            return JSONResponse({"detail": f"the body is larger than {MAX_BODY_BYTES} bytes"}, 413)
        # Any web page can make a browser post a body of another type here, but not one of this type.
        if request.method == "POST" and not _is_json(request.headers.get("content-type", "")):
            return JSONResponse({"detail": "send Content-Type: application/json"}, 415)
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        # without the input itself, which JSON may not be able to represent (NaN, half a surrogate pair)
        return JSONResponse(
            {
                "detail": [
                    {"loc": fault["loc"], "msg": fault["msg"].removeprefix("Value error, "), "type": fault["type"]}
                    for fault in error.errors()
                ]
            },
            422,
        )

    @app.exception_handler(StoreError)
    async def try_again(_: Request, error: StoreError) -> JSONResponse:
        return JSONResponse({"detail": f"the store of listens does not answer: {error}"}, 503, {"Retry-After": "1"})

    @app.exception_handler(UserError)
    async def refuse_time(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": [{"loc": ["body", "at"], "msg": str(error), "type": "value_error"}]}, 422)

    def recommended(body: NextTracksRequest) -> NextTracksAnswer:
        recent = [
            RecentListen(
                listen.track_id,
                None if listen.played_at is None else _microseconds(listen.played_at),
                listen.played_fraction,
            )
            for listen in body.recent
        ]
        asked = recommender().now(body.user_id) if body.at is None else _microseconds(body.at)
        at = max([asked, *(listen.played_at for listen in recent if listen.played_at is not None)])
        if at - asked > clock_skew_s * 1e6:
            limit = f"more than {clock_skew_s:g} s " if clock_skew_s else ""
            message = f"recent holds a listen that is {limit}later than the request"
            raise RequestValidationError([{"loc": ("body", "recent"), "msg": message, "type": "value_error"}])
        # without a time of its own a request is as late as it must be for what was posted meanwhile
        skew_us = round(clock_skew_s * 1e6) if body.at is not None else _microseconds(LATEST)
        answer = recommender().next_tracks(body.user_id, recent, body.k, at, skew_us)
        return NextTracksAnswer(user_id=body.user_id, model_version=model_version, **asdict(answer))

    @app.post("/v1/next-tracks")
    async def next_tracks(body: NextTracksRequest) -> NextTracksAnswer:
        """Recommend the tracks to play next."""
        return await asyncio.get_running_loop().run_in_executor(one_thread, recommended, body)

    @app.post("/v1/listens")
    async def listens(body: ListensRequest) -> ListensAnswer:
        """Take listens: the next recommendation knows them."""
        now = time.time_ns() // 1000
        posted = [
            Posted(
                listen.event_id,
                listen.user_id,
                listen.track_id,
                now if listen.played_at is None else _microseconds(listen.played_at),
                listen.played_fraction,
            )
            for listen in body.listens
        ]
        for place, listen in enumerate(posted):
            if listen.played_at - now > clock_skew_s * 1e6:
                message = f"more than {clock_skew_s:g} s later than the clock of this machine"
                where = ("body", "listens", place, "played_at")
                raise RequestValidationError([{"loc": where, "msg": message, "type": "value_error"}])
        new = await asyncio.wrap_future(store.add(posted))
        return ListensAnswer(stored=sum(new), known_already=len(new) - sum(new))

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the model is loaded and answers."""
        recommender()
        return {"status": "ok", "model_version": model_version}

    return app


def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json"


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
