"""The endpoint against hostile requests: whatever comes is answered, never with a 5xx, and the next one is as usual."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from endpoints import ask, client_of, memory_bundle, post
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, seed, settings
from pydantic import ValidationError
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fsvae.bundle import Bundle
from fsvae.data.dataset import Dataset
from fsvae.online_recommender import OnlineRecommender
from serving.guard import MAX_BODY_BYTES
from serving.messages import MAX_NAMED, NextTracksBatch
from serving.stores.redis_store import RedisStore
from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import Store
from tests.serving.stores.redis_server import RedisServer

SECRET = {"Authorization": "Bearer s3cret"}
JSON = {"Content-Type": "application/json"}
LONE_SURROGATE = "\\ud800"  # as JSON writes it


@pytest.fixture(scope="module")
def bundle(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return memory_bundle(small_dataset, tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("live") / "listens.sqlite")
    yield store
    store.close()


def started(bundle: Bundle, store: Store, token: str | None = "s3cret") -> TestClient:
    """A client that raises what the endpoint does not catch."""
    client = client_of(OnlineRecommender(bundle, came=store.of_user, notices=store.tracks), store, token)
    client.headers.update(SECRET)
    return client


@pytest.fixture(scope="module")
def endpoint(bundle: Bundle, store: SqliteStore) -> TestClient:
    return started(bundle, store)


@pytest.fixture
def client(endpoint: TestClient) -> Iterator[TestClient]:
    """A client of an endpoint that must answer afterwards."""
    yield endpoint
    assert len(ask(endpoint, user_id="somebody")["tracks"]) == 10
    assert endpoint.get("/readyz").status_code == 200


# The requests that the document allows, and those that it does not, a little off it.

CONFORMANCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_the_document_describes_is_answered_as_it_says(client: TestClient, mode: GenerationMode) -> None:
    for found in openapi.from_asgi("/openapi.json", client.app).get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body and not list(operation.iter_parameters()):
            continue  # nothing can be wrong

        @seed(1)
        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(mode))
        def as_it_says(case: Case) -> None:
            case.call_and_validate(headers=SECRET, checks=CONFORMANCE)

        as_it_says()


def test_the_document_names_every_refusal_where_it_can_happen(endpoint: TestClient) -> None:
    paths = endpoint.get("/openapi.json").json()["paths"]
    found = {
        (path, method): set(one["responses"]) for path, methods in paths.items() for method, one in methods.items()
    }
    for of_all in ("400", "401", "413", "422", "503"):
        assert all(of_all in statuses for statuses in found.values()), of_all
    with_body = {key for key, statuses in found.items() if {"411", "415"} <= statuses}
    track = "/v1/tracks/{track_id}"
    assert with_body == {("/v1/next-tracks", "post"), ("/v1/listens", "post"), (track, "put")}
    assert [key for key, statuses in found.items() if "404" in statuses] == [(f"{track}/similar", "get")]
    hiding = {key for key, statuses in found.items() if "403" in statuses}
    assert hiding == {(f"{track}/hide", "post"), (f"{track}/hide", "delete")}


# Bodies.


def listen(**told: Any) -> dict[str, Any]:
    return {"event_id": "e", "user_id": "u", "track_id": "t", **told}


def nested(levels: int, opening: str, closing: str, inside: str = "") -> str:
    return opening * levels + inside + closing * levels


BODIES = {
    "nothing": ("", 422),
    "no JSON": ("{", 422),
    "bytes that are no text": (b'{"user_id": "\xff"}', 400),
    "a surrogate as bytes": (b'{"user_id": "\xed\xa0\x80"}', 422),
    "deep lists": (nested(100_000, "[", "]"), 400),
    "deep lists without an end": ("[" * 100_000, 400),
    "deep objects": (nested(100_000, '{"a":', "}", "1"), 400),
    "deep lists in a field": (f'{{"user_id": "u", "only": {nested(100_000, "[", "]")}}}', 400),
    "lists that are just not too deep to read": (f'{{"user_id": "u", "only": {nested(900, "[", "]")}}}', 422),
    "a list": ("[]", 422),
    "a number": ("5", 422),
    "null": ("null", 422),
    "NaN": ('{"user_id": "u", "diversity": NaN}', 422),
    "Infinity": ('{"user_id": "u", "diversity": Infinity}', 422),
    "-Infinity as a time": ('{"user_id": "u", "at": -Infinity}', 422),
    "NaN as a time": ('{"user_id": "u", "at": NaN}', 422),
    "a number beyond floats": ('{"user_id": "u", "diversity": 1e999}', 422),
    "a time beyond floats": (f'{{"user_id": "u", "at": {"9" * 400}}}', 422),
    "a time before Christ": ('{"user_id": "u", "at": -1e300}', 422),
    "a time before the first day in its zone": ('{"user_id": "u", "at": "0001-01-01T00:00:00+23:59"}', 422),
    "a time after the last day in its zone": ('{"user_id": "u", "at": "9999-12-31T23:59:59-23:59"}', 422),
    "the largest seed": (f'{{"user_id": "u", "diversity": 1, "seed": {2**63 - 1}}}', 200),
    "a seed of 64 bits": (f'{{"user_id": "u", "diversity": 1, "seed": {2**63}}}', 422),
    "a seed beyond 64 bits": (f'{{"user_id": "u", "diversity": 1, "seed": {2**200}}}', 422),
    "a seed of more digits than Python reads": (f'{{"user_id": "u", "seed": {"9" * 5000}}}', 400),
    "k beyond 64 bits": (f'{{"user_id": "u", "k": {10**30}}}', 422),
    "k below them": (f'{{"user_id": "u", "k": -{10**30}}}', 422),
    "half a surrogate pair in an id": (f'{{"user_id": "{LONE_SURROGATE}"}}', 422),
    "half a surrogate pair in a name": (f'{{"{LONE_SURROGATE}": 1}}', 422),
    "half a surrogate pair in a list": (f'{{"user_id": "u", "only": ["{LONE_SURROGATE}"]}}', 422),
    "an id that is too long": (f'{{"user_id": "{"u" * 257}"}}', 422),
    "an id of the largest length": (f'{{"user_id": "{"u" * 256}"}}', 200),
    "too many tracks": (f'{{"user_id": "u", "only": {["t"] * (MAX_NAMED + 1)}}}'.replace("'", '"'), 422),
    "a million tracks": (f'{{"user_id": "u", "only": {["t"] * 1_000_000}}}'.replace("'", '"'), 413),
    "nothing that is allowed, explained": ('{"user_id": "u", "only": [], "explain": true}', 200),
    "the end of time, explained": ('{"user_id": "u", "at": "2100-01-01T00:00:00Z", "explain": true}', 200),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_a_hostile_question_is_refused_or_answered(client: TestClient, body: str | bytes, status: int) -> None:
    response = client.post("/v1/next-tracks", content=body, headers=JSON)
    assert response.status_code == status, response.text
    if status == 200:
        assert all(0 <= track["score"] <= 1 for track in response.json()["tracks"])


@pytest.mark.parametrize("name", ["event_id", "user_id", "track_id", "kind"])
def test_half_a_surrogate_pair_is_stored_nowhere(client: TestClient, store: SqliteStore, name: str) -> None:
    before = store.since(0)
    body = json.dumps({"listens": [listen(event_id="fine"), listen(**{name: "\ud800"})]})
    assert client.post("/v1/listens", content=body, headers=JSON).status_code == 422
    assert store.since(0) == before


@pytest.mark.parametrize(
    "played_at", [-1, 4_102_444_801, 1e300, "2099-01-01T00:00:00Z", "-0001-01-01", {}, float("nan")]
)
def test_a_listen_far_away_is_refused(client: TestClient, played_at: Any) -> None:
    body = json.dumps({"listens": [listen(played_at=played_at)]})
    assert client.post("/v1/listens", content=body, headers=JSON).status_code == 422


@pytest.mark.parametrize("kind", ["listen", "like"])
def test_a_listen_of_1970_is_taken_and_the_slow_features_bear_it(client: TestClient, bundle: Bundle, kind: str) -> None:
    user = f"old {kind}"
    post(client, listen(user_id=user, track_id=bundle.track_ids[0], played_at=0, kind=kind))
    for at in (None, "2100-01-01T00:00:00Z"):
        assert len(ask(client, user_id=user, at=at, explain=True)["tracks"]) == 10
    assert client.get(f"/v1/users/{user}").json()["known_user"] is (kind == "listen")


def test_a_small_body_with_very_many_faults_is_refused_in_few_words(client: TestClient) -> None:
    wrong = {"only": [1] * 8_000}
    for body in ({"requests": [wrong] * 60}, {str(number): 1 for number in range(60_000)}):
        response = client.post("/v1/next-tracks", json=body)
        assert response.status_code == 422 and len(response.content) < 50_000
    with pytest.raises(ValidationError) as refused:
        NextTracksBatch.model_validate({"requests": [wrong, {"exclude": {"tracks": [1] * 8_000}}]})
    assert refused.value.error_count() == 2  # more take time, though they are not named
    faults = client.post("/v1/listens", json={"listens": [{}] * 500}).json()["detail"]
    assert len(faults) == 100 and faults[0]["loc"] == ["body", "listens", 0, "event_id"]


ODD: list[Any] = [None, True, -1, 0, 1.5, "", "x", [], [None], [[]], {}, {"a": 1}]
FIELDS = {
    "/v1/next-tracks": ["user_id", "recent", "k", "at", "exclude", "only", "repeats", "diversity", "seed", "explain"],
    "/v1/listens": ["event_id", "user_id", "track_id", "kind", "played_at", "played_fraction"],
    "/v1/tracks/odd": ["title", "artist_id", "artist_name", "album"],
}


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in FIELDS.items() for name in names])
def test_every_field_bears_every_type(client: TestClient, path: str, name: str) -> None:
    method = "PUT" if "tracks/" in path else "POST"
    for value in ODD:
        bodies: list[Any] = [{name: value}]
        if path == "/v1/next-tracks":
            inside = [{"track_id": value}, {"track_id": "t", "played_at": value}, {"track_id": "t", name: value}]
            bodies = [{"user_id": "u", name: value}, {"requests": [{"user_id": "u", name: value}]}, {"requests": value}]
            bodies += [{"recent": [one]} for one in inside] + [{"user_id": "u", "exclude": {"tracks": value}}]
        if path == "/v1/listens":
            bodies = [{"listens": [listen(**{name: value})]}, {"listens": value}, {"listens": [value]}]
        for body in bodies:
            response = client.request(method, path, json=body)
            assert response.status_code in (200, 204, 422), (body, response.text)


# Paths and headers, over a real server: what it reads of them is what counts.


@pytest.fixture(scope="module")
def server(endpoint: TestClient) -> Iterator[tuple[str, int]]:
    """The address of the endpoint on a server."""
    with served(endpoint.app) as address:
        yield address


@contextmanager
def served(app: Any) -> Iterator[tuple[str, int]]:
    """A server of an application in a thread of this process; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


def web(address: tuple[str, int]) -> httpx.Client:
    return httpx.Client(base_url=f"http://{address[0]}:{address[1]}", headers=SECRET, timeout=30)


def statuses(address: tuple[str, int], request: bytes, ends: bool) -> list[int]:
    """The statuses of what a server answers to some bytes until it hangs up; `ends`: the sender does so first."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


QUESTION = b'{"user_id": "u"}'
CHUNKS = b"10\r\n" + QUESTION + b"\r\n0\r\n\r\n"
HEADERS: dict[str, tuple[bytes, bytes, list[list[int]]]] = {
    "the right length": (b"Content-Length: 16", QUESTION, [[200]]),
    "none": (b"X: y", QUESTION, [[411], [400]]),
    "chunks": (b"Transfer-Encoding: chunked", CHUNKS, [[411]]),
    "chunks that are none": (b"Transfer-Encoding: chunked", b"zz\r\n" + QUESTION, [[400], [411]]),
    "a length and chunks": (b"Content-Length: 16\r\nTransfer-Encoding: chunked", CHUNKS, [[400], [411]]),
    "chunks and a length": (b"Transfer-Encoding: chunked\r\nContent-Length: 16", CHUNKS, [[400], [411]]),
    "too short": (b"Content-Length: 7", QUESTION, [[422], [400]]),
    "too long": (b"Content-Length: 99", QUESTION, [[], [400]]),
    "two of them": (b"Content-Length: 16\r\nContent-Length: 3", QUESTION, [[400]]),
    "negative": (b"Content-Length: -16", QUESTION, [[400]]),
    "no number": (b"Content-Length: 1e1", QUESTION, [[400]]),
    "a power": (b"Content-Length: 1\xb2", QUESTION, [[400]]),
    "a number of 5000 digits": (b"Content-Length: " + b"9" * 5000, QUESTION, [[400], [413]]),
    "beyond the limit": (b"Content-Length: %d" % (MAX_BODY_BYTES + 1), QUESTION, [[413]]),
}


@pytest.mark.parametrize(("length", "body", "expected"), HEADERS.values(), ids=HEADERS)
def test_a_length_that_is_wrong_harms_nobody(
    client: TestClient, server: tuple[str, int], length: bytes, body: bytes, expected: list[list[int]]
) -> None:
    headers = [b"Host: x", b"Content-Type: application/json", b"Connection: close", b"Authorization: Bearer s3cret"]
    request = b"\r\n".join([b"POST /v1/next-tracks HTTP/1.1", *headers, length, b"", body])
    assert statuses(server, request, ends=[] in expected) in expected
    with web(server) as sound:
        assert sound.post("/v1/next-tracks", json={"user_id": "u"}).status_code == 200


@pytest.mark.parametrize("length", ["9" * 5000, "\xb2", "-1", "", "1 1"])
def test_lengths_that_a_server_lets_through_are_refused(client: TestClient, length: str) -> None:
    headers = {**JSON, "Content-Length": length.encode("latin-1")}
    response = client.post("/v1/next-tracks", content=QUESTION, headers=headers)  # type: ignore[arg-type]
    assert response.status_code in (411, 413)
    both = {**JSON, "Content-Length": "16", "Transfer-Encoding": "chunked"}
    assert client.post("/v1/next-tracks", content=QUESTION, headers=both).status_code == 411


def test_the_bound_of_a_body_holds_for_every_path(client: TestClient) -> None:
    """One that ends as that of hiding a track does, too."""
    large = iter([b'{"title": "', b"x" * (2 * MAX_BODY_BYTES), b'"}'])
    assert client.put("/v1/tracks/x/hide", content=large, headers=JSON).status_code == 411


def test_a_secret_may_be_any_text(bundle: Bundle, store: SqliteStore) -> None:
    client = started(bundle, store, token="gehäuse")
    for said, status in (("gehäuse", 200), ("gehäusf", 401), ("", 401)):
        headers = {b"Authorization": f"Bearer {said}".encode()}
        assert client.get("/v1/model", headers=headers).status_code == status


def test_without_a_secret_no_spelling_of_a_path_hides_a_track(bundle: Bundle, store: SqliteStore) -> None:
    client, before = started(bundle, store, token=None), store.tracks(0)
    for path in (
        "x/hide",
        "x/hide%0A",
        "x%0A/hide",
        "x/hide%0D",
        "x/hide/",
        "x//hide",
        "%2Fhide",
        "x%2Fhide",
        "x/hid%65",
    ):
        for method in ("POST", "DELETE"):
            response = client.request(method, f"/v1/tracks/{path}", content=b"{}", headers=JSON)
            assert response.status_code in (403, 404, 405), (path, method)
    assert store.tracks(0) == before


@pytest.mark.parametrize("path", ["/v1/users/", "/v1/users", "/v1/tracks//similar", "/v1/tracks/"])
def test_an_empty_id_in_a_path_is_none(client: TestClient, path: str) -> None:
    for method in ("GET", "DELETE", "POST", *(["PUT"] if path.endswith("/") else [])):
        response = client.request(method, path, json={})
        assert response.status_code in (404, 405, 422), (method, response.text)
    assert client.post("/v1/tracks//hide").status_code == client.delete("/v1/tracks//hide").status_code == 422


@pytest.mark.parametrize("odd", ["%FF", "%ED%A0%80", "u%C3", "%C0%80"])
def test_a_path_that_is_no_text_means_nobody(client: TestClient, server: tuple[str, int], odd: str) -> None:
    replaced = bytes.fromhex(odd.removeprefix("u").replace("%", "")).decode(errors="replace")
    taken_for = odd[: odd.startswith("u")] + replaced
    post(client, listen(user_id=taken_for))
    with web(server) as sound:
        assert sound.get(f"/v1/users/{odd}").status_code == sound.delete(f"/v1/users/{odd}").status_code == 400
        assert sound.get(f"/v1/users/{quote(taken_for)}").json()["known_user"]


@pytest.mark.parametrize("path", ["/v1/users/{}", "/v1/tracks/{}/similar", "/v1/tracks/{}/hide", "/v1/tracks/{}"])
def test_an_id_in_a_path_is_as_bounded_as_in_a_body(client: TestClient, server: tuple[str, int], path: str) -> None:
    with web(server) as sound:
        for odd in ("x" * 257, quote("é" * 257), "%00" * 257):
            for method in ("GET", "PUT", "POST", "DELETE"):
                assert sound.request(method, path.format(odd), json={}).status_code in (405, 422)


@pytest.mark.parametrize("k", ["0", "501", "-1", "x", "", "1.5", "NaN", "%00", "9" * 30, "9" * 5000])
def test_k_in_a_path_is_as_bounded_as_in_a_body(client: TestClient, bundle: Bundle, k: str) -> None:
    assert client.get(f"/v1/tracks/{bundle.track_ids[0]}/similar?k={k}").status_code == 422


IDS = [
    "\x00",
    "nul\x00behind",
    "line\nend",
    "end\n",
    "\r\n\t ",
    "\x1b[31m",
    "\x7f\x80",
    "\u202e",
    "\ufffd",
    "a/b",
    "a//b",
]
IDS += [
    "..%2F..",
    "%00",
    "%",
    "?k=1#x",
    "hide",
    "x/hide",
    "x/similar",
    "é" * 256,
    "🎧" * 256,
    "' OR 1=1 --",
    "*",
    "a:b",
]


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Both stores."""
    folder: Path = tmp_path_factory.mktemp("live")
    if request.param == "sqlite":
        sqlite = SqliteStore(folder / "listens.sqlite")
        yield sqlite
        sqlite.close()
        return
    with RedisServer(folder) as server:
        redis = RedisStore(server.url)
        yield redis
        redis.close()


def test_whatever_an_id_is_made_of_it_is_found_again_and_no_other_is(bundle: Bundle, places: Store) -> None:
    endpoint, heard = started(bundle, places), bundle.track_ids[3]
    with served(endpoint.app) as address, web(address) as sound:
        for odd in IDS:
            told = [listen(event_id=odd, user_id=odd, track_id=heard), listen(event_id=odd + "2", user_id=odd)]
            told[1] |= {"track_id": odd, "kind": "dislike"}
            if len(odd) == 256:
                told[1]["event_id"] = odd[1:]
            assert sound.post("/v1/listens", json={"listens": told}).json() == {"stored": 2, "known_already": 0}, odd
            assert sound.post("/v1/listens", json={"listens": told}).json() == {"stored": 0, "known_already": 2}, odd
            metadata = {"title": odd, "artist_id": odd, "artist_name": odd, "album": odd}
            assert sound.put(f"/v1/tracks/{quote(odd, safe='')}", json=metadata).status_code == 204, odd
        for odd in IDS:
            assert [(one.track_id, one.kind) for one in places.of_user(odd, 0)] == [(heard, "listen"), (odd, "dislike")]
            user = sound.get(f"/v1/users/{quote(odd, safe='')}").json()
            assert (user["user_id"], user["posted_listens"], user["disliked"]) == (odd, 1, [odd])
            question = {"user_id": odd, "recent": [odd], "exclude": {"tracks": [odd], "artists": [odd]}}
            answer = sound.post("/v1/next-tracks", json={**question, "repeats": "forbidden", "explain": True}).json()
            assert answer["known_user"] and answer["unknown_tracks"] == []
            assert not {heard, odd} & {track["track_id"] for track in answer["tracks"]}
        assert {notice.track_id: notice.title for notice in places.tracks(0)} == {odd: odd for odd in IDS}
        for odd in IDS:
            path = quote(odd, safe="")
            assert sound.post(f"/v1/tracks/{path}/hide").status_code == 204
            assert [one.track_id for one in places.tracks(0) if one.hidden] == [odd]
            assert sound.delete(f"/v1/tracks/{path}/hide").status_code == 204
            assert sound.delete(f"/v1/users/{path}").status_code == 204
            assert not sound.get(f"/v1/users/{path}").json()["known_user"]
        assert {stored.event.kind for stored in places.since(0)} == {"erased"} and len(places.since(0)) == len(IDS)
    assert len(ask(endpoint, user_id="somebody")["tracks"]) == 10
