"""The FastAPI routes over a model and a store."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter
from starlette.convertors import Convertor, register_url_convertor

from fsvae.live_tracks import TrackNotice
from fsvae.live_users import LiveEvent
from fsvae.online_question import Answer, Question, RecentListen, RequestError
from serving.accuracy import Windows, accuracy_of, minute_now
from serving.fast_path import FastPath, Route
from serving.guard import Guard
from serving.messages import (
    BATCH,
    ONE,
    Id,
    ListensAnswer,
    ListensRequest,
    ModelAnswer,
    NextTracksAnswer,
    NextTracksAnswers,
    NextTracksBatch,
    NextTracksRequest,
    OneOrBatch,
    PostedListen,
    Problem,
    Refusal,
    SimilarAnswer,
    TrackMetadata,
    UserSummary,
)
from serving.metrics import Metrics
from serving.model_thread import Model, ModelThread, Ranks
from serving.serve_config import MAX_K
from serving.stores.store import Posted, Store, StoreError

_MOST_RANKS = 8
"""Most listens of a user in a request whose ranks are taken: each needs the state after the one before it."""
_RANKED_TOGETHER = 32
_LATEST_TRACKS = 10
_MOST_FAULTS = 100
"""Most faults of one request that its refusal names: a small body may have very many."""
_SAID: dict[int, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The path or the body cannot be read at all.",
        401: "The bearer token is missing or wrong.",
        403: "The endpoint has no bearer token, so nobody may hide a track.",
        404: "The track is not known.",
        411: "The Content-Length is missing.",
        413: "The body is too large.",
        415: "The body is no application/json.",
    }.items()
}
_WITH_BODY: dict[int | str, dict[str, Any]] = {status: _SAID[status] for status in (411, 415)}


class _IdConvertor(Convertor[str]):
    """Ids in paths: any text, also with slashes and line ends."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _IdConvertor())


@dataclass(frozen=True)
class Endpoint:
    """What the routes need."""

    models: ModelThread
    store: Store
    metrics: Metrics = field(default_factory=Metrics)
    token: str | None = None
    """Bearer token that requests to /v1 must carry; None: none is required."""
    clock_skew_s: float = 300.0
    """Largest time by which a recent listen may be later than its request, and a posted one than this clock [s]."""
    score_share: float = 1.0
    """Share of the posted listens whose rank is taken, when there is time."""


def create_app(endpoint: Endpoint) -> Guard:
    """Return the application (ASGI)."""
    models, store, metrics = endpoint.models, endpoint.store, endpoint.metrics
    app = FastAPI(
        title="FS-VAE",
        description="Next tracks from slow taste and fast mood.",
        version=models.model.version,
        responses={
            **{status: _SAID[status] for status in (400, 401, 413)},
            422: {"model": Refusal, "description": "What is wrong, field by field."},
            503: {"description": "Too much at once, or the store does not answer: try again after Retry-After."},
        },
    )
    _add_refusals(app)
    skew_us = round(endpoint.clock_skew_s * 1e6)

    def question(body: NextTracksRequest) -> Question:
        return Question(
            user_id=body.user_id,
            recent=tuple(
                RecentListen(one.track_id, _microseconds_or_none(one.played_at), one.played_fraction)
                for one in body.recent
            ),
            k=body.k,
            at=_microseconds_or_none(body.at),
            skew_us=skew_us,
            exclude_tracks=tuple(body.exclude.tracks),
            exclude_artists=tuple(body.exclude.artists),
            only=None if body.only is None else tuple(body.only),
            repeats=body.repeats,
            diversity=body.diversity,
            seed=body.seed,
            explain=body.explain,
        )

    def secret() -> None:
        # not by the path alone: a route takes a path with a line end behind it, too
        if endpoint.token is None:
            raise HTTPException(403, "hiding tracks needs a secret: start the endpoint with FSVAE_TOKEN set")

    for_operators: dict[str, Any] = {"dependencies": [Depends(secret)], "responses": {403: _SAID[403]}}

    @app.post("/v1/next-tracks", response_model=NextTracksAnswer | NextTracksAnswers, responses=_WITH_BODY)
    async def next_tracks(body: OneOrBatch) -> Response:
        """Recommend the tracks to play next, for one request or for up to 64 at once."""
        requests = body.requests if isinstance(body, NextTracksBatch) else [body]
        found = await asyncio.wrap_future(models.ask([question(one) for one in requests]))
        if not isinstance(body, NextTracksBatch) and isinstance(found.answers[0], RequestError):
            raise found.answers[0]
        answers = [_told(*each, found.version) for each in zip(requests, found.answers, strict=True)]
        return _json({"answers": answers} if isinstance(body, NextTracksBatch) else answers[0])

    @app.post("/v1/listens", response_model=ListensAnswer, responses=_WITH_BODY)
    async def listens(body: ListensRequest) -> Response:
        """Take what users did: the next recommendation knows it."""
        posted = _posted(body.listens, time.time_ns() // 1000, endpoint.clock_skew_s)
        numbers = await asyncio.wrap_future(store.add(posted))
        new = [(one, number) for one, number in zip(posted, numbers, strict=True) if number]
        for one, _ in new:
            metrics.stored(one.kind)
        _score(endpoint, [(one, number) for one, number in new if one.kind == "listen"])
        return _json({"stored": len(new), "known_already": len(numbers) - len(new)})

    @app.get("/v1/users/{user_id:id}")
    async def user(user_id: Id) -> UserSummary:
        """Say what is known of a user."""
        return await asyncio.wrap_future(models.call(lambda model: _summary(model, user_id)))

    @app.delete("/v1/users/{user_id:id}", status_code=204)
    async def forget(user_id: Id) -> None:
        """Forget a user: what was posted at once, and the lake with the next `fsvae ingest --source live`."""
        last = await asyncio.wrap_future(models.call(lambda model: model.recommender.last_heard(user_id)))
        # a listen may have been posted with a clock that is ahead
        await asyncio.wrap_future(store.erase(user_id, max(time.time_ns() // 1000 + skew_us, last or 0)))

    @app.get("/v1/tracks/{track_id:id}/similar", responses={404: _SAID[404]})
    async def similar(track_id: Id, k: int = 10) -> SimilarAnswer:
        """Return the tracks nearest to one in the track space."""
        if not 1 <= k <= MAX_K:
            raise _fault(("query", "k"), f"not between 1 and {MAX_K}")
        work = models.call(lambda model: (model.recommender.similar(track_id, k), model.version))
        found, version = await asyncio.wrap_future(work)
        if found is None:
            return _not_found("the track is not known, or has no place in the track space")  # type: ignore[return-value]
        tracks = [{"track_id": it.track_id, "score": it.score, "title": it.title, "artist": it.artist} for it in found]
        return _json({"track_id": track_id, "model_version": version, "tracks": tracks})  # type: ignore[return-value]

    @app.post("/v1/tracks/{track_id:id}/hide", status_code=204, **for_operators)
    async def hide(track_id: Id) -> None:
        """Take a track down: nobody is recommended it until it is shown again. Needs the bearer token."""
        await asyncio.wrap_future(store.hide(track_id, True))

    @app.delete("/v1/tracks/{track_id:id}/hide", status_code=204, **for_operators)
    async def show(track_id: Id) -> None:
        """Show a hidden track again. Needs the bearer token."""
        await asyncio.wrap_future(store.hide(track_id, False))

    @app.put("/v1/tracks/{track_id:id}", status_code=204, responses=_WITH_BODY)
    async def add_track(track_id: Id, body: TrackMetadata) -> None:
        """Add a track: it gets a vector from its album or artist, and can be recommended at once."""
        await asyncio.wrap_future(store.put_track(TrackNotice(track_id, added=True, **body.model_dump())))

    @app.get("/v1/model")
    async def model() -> ModelAnswer:
        """Say which model is served, and how well it does."""
        answer = await asyncio.wrap_future(models.call(_model_answer))  # when the ranks of what was posted are taken
        windows = await asyncio.to_thread(Windows, store)
        return answer.model_copy(update={"last_hour": windows.hour, "last_day": windows.day})

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "ok", "model_version": models.model.version}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Say that model and store answer."""
        await asyncio.to_thread(store.of_user, "", 0)
        await asyncio.wrap_future(models.call(lambda model: None))
        return {"status": "ready", "model_version": models.model.version}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics_text() -> Response:
        """Return what is counted, in Prometheus' text format."""
        with contextlib.suppress(StoreError):  # the figures of the process are asked for then most of all
            windows = await asyncio.to_thread(Windows, store)
            for name, found in (("hour", windows.hour), ("day", windows.day)):
                metrics.accuracy(name, {one.model_version: one.model_dump(exclude={"model_version"}) for one in found})
        now = models.model
        age = time.time() - now.recommender.bundle.last_listen_at / 1e6
        metrics.now(now.version, age, models.waiting, len(now.recommender.kept_users))
        return Response(await asyncio.to_thread(metrics.text), media_type="text/plain; version=0.0.4")

    fast = {
        "/v1/next-tracks": Route(TypeAdapter(OneOrBatch), next_tracks),
        "/v1/listens": Route(TypeAdapter(ListensRequest), listens),
    }
    return Guard(FastPath(app, fast, _REFUSALS), endpoint.token, metrics)


def _invalid(error: RequestValidationError) -> Response:
    # without the input itself, which JSON may not be able to represent (NaN, half a surrogate pair)
    faults = [
        {"loc": _loc(fault["loc"]), "msg": fault["msg"].removeprefix("Value error, "), "type": fault["type"]}
        for fault in error.errors()[:_MOST_FAULTS]
    ]
    return JSONResponse({"detail": faults}, 422)


def _refused(error: RequestError) -> Response:
    return JSONResponse({"detail": _faults(error)}, 422)


def _unavailable(error: StoreError) -> Response:
    return JSONResponse({"detail": f"the store does not answer: {error}"}, 503, {"Retry-After": "1"})


_REFUSALS: dict[type[Exception], Callable[[Any], Response]] = {
    RequestValidationError: _invalid,
    RequestError: _refused,
    StoreError: _unavailable,
}
"""What is answered where a route raises one of these."""


def _add_refusals(app: FastAPI) -> None:
    async def refuse(_: Request, error: Exception) -> Response:
        return _REFUSALS[type(error)](error)

    for kind in _REFUSALS:
        app.add_exception_handler(kind, refuse)


def _loc(loc: Sequence[str | int]) -> list[str | int]:
    """Return the place of a fault as the sender knows it, without the name of a kind of body."""
    return [loc[0], *loc[2:]] if len(loc) > 1 and loc[1] in (ONE, BATCH) else list(loc)


def _faults(error: RequestError) -> list[dict[str, Any]]:
    return [{"loc": ["body", error.field], "msg": str(error), "type": "value_error"}]


def _fault(loc: Sequence[str | int], message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": loc, "msg": message, "type": "value_error"}])


def _not_found(message: str) -> Response:
    return JSONResponse({"detail": message}, 404)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _told(request: NextTracksRequest, answer: Answer | RequestError, version: str) -> dict[str, Any]:
    """Return the answer to a request as JSON values; of a batch, also what is wrong with it."""
    if isinstance(answer, RequestError):
        return {"detail": _faults(answer)}
    tracks: list[Any] = [
        {"track_id": it.track_id, "score": it.score, "title": it.title, "artist": it.artist}
        | ({} if it.shares is None else {"shares": it.shares})
        for it in answer.tracks
    ]
    told = {
        "user_id": request.user_id,
        "known_user": answer.known_user,
        "recent_used": answer.recent_used,
        "unknown_tracks": answer.unknown_tracks,
        "uncertainty": answer.uncertainty,
        "model_version": version,
        "tracks": tracks,
    }
    return told if answer.mood_from_taste is None else told | {"mood_from_taste": answer.mood_from_taste}


def _posted(listens: Sequence[PostedListen], now: int, clock_skew_s: float) -> list[Posted]:
    posted = [
        Posted(
            one.event_id,
            one.user_id,
            one.track_id,
            now + place if one.played_at is None else _microseconds(one.played_at),  # two at once would be one
            one.played_fraction,
            one.kind,
        )
        for place, one in enumerate(listens)
    ]
    for place, one in enumerate(posted):
        if one.played_at - now > clock_skew_s * 1e6:
            message = f"more than {clock_skew_s:g} s later than the clock of this machine"
            raise _fault(("body", "listens", place, "played_at"), message)
    return posted


def _score(endpoint: Endpoint, listens: Sequence[tuple[Posted, int]]) -> None:
    """Take the ranks of listens that were just stored, before the states of their users read them; nobody waits."""
    chosen, of_user = [], Counter[str]()
    for one, number in listens:
        of_user[one.user_id] += 1
        if random.random() < endpoint.score_share and of_user[one.user_id] <= _MOST_RANKS:
            event = LiveEvent(number, one.track_id, one.played_at, one.played_fraction)
            chosen.append((one.user_id, event))
        else:
            endpoint.metrics.scored(False)

    def told(done: Future[Ranks]) -> None:
        if done.exception() is not None:
            return  # the store does not answer, as requests say
        found = done.result()
        ranks = [rank for rank in found.ranks if rank is not None]
        for rank in found.ranks:
            endpoint.metrics.scored(rank is not None)
        if ranks:
            endpoint.store.add_accuracy(accuracy_of(found.version, minute_now(), ranks))

    for begin in range(0, len(chosen), _RANKED_TOGETHER):
        endpoint.models.rank(chosen[begin : begin + _RANKED_TOGETHER]).add_done_callback(told)


def _summary(model: Model, user_id: str) -> UserSummary:
    user = model.recommender.user(user_id)
    latest = [listen.track_id for listen in reversed(user.listens[-_LATEST_TRACKS:])]
    return UserSummary(
        user_id=user_id,
        known_user=user.known,
        listens=user.state.n_listens,
        posted_listens=len(user.listens),
        last_played_at=_time(user.state.last_played_at) if user.known else None,
        latest=latest,
        liked=user.now_said("like", "unlike"),
        disliked=user.disliked,
    )


def _model_answer(model: Model) -> ModelAnswer:
    recommender = model.recommender
    recommender.refresh()
    bundle = recommender.bundle
    return ModelAnswer(
        model_version=model.version,
        dataset=str(bundle.info["dataset"]),
        dataset_until=_time(bundle.last_listen_at),
        users=len(bundle.user_ids),
        tracks=len(bundle.tracks),
        added_tracks=recommender.tracks.n_added,
        hidden_tracks=len(recommender.tracks.hidden),
        settings=bundle.info["model"],
        last_hour=[],
        last_day=[],
    )


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1e6, UTC)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _microseconds_or_none(at: datetime | None) -> int | None:
    return None if at is None else _microseconds(at)
