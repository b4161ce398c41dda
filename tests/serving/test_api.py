"""The endpoint over a real bundle: answers, refusals, and what the stored history means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from endpoints import ask, client_of, post
from fastapi.testclient import TestClient
from plain_model import PLAIN

from fsvae.bundle import Bundle, load_bundle, save_bundle
from fsvae.data.dataset import Dataset
from fsvae.evaluation.metrics import cosine_distance
from fsvae.live_users import LiveEvent
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.online_state import UserState, new_user
from fsvae.models.predict import NetworkPredictor
from fsvae.online_question import RecentListen
from fsvae.online_recommender import OnlineRecommender
from serving.guard import MAX_BODY_BYTES
from serving.messages import MAX_K, MAX_POSTED, MAX_RECENT
from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import StoreError

EXACT = 1_000_000


@pytest.fixture(scope="module")
def bundle(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle")
    config = ModelConfig(
        history=8, slow_hidden=16, slow_dim=8, fast_hidden=16, latent_dim=8, **{**PLAIN, "softmax_weight": 1.0}
    )
    save_bundle(path, FSVAENetwork.for_dataset(small_dataset, config), small_dataset, {})
    return load_bundle(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("live") / "listens.sqlite")
    yield store
    store.close()


@pytest.fixture(scope="module")
def client(bundle: Bundle, store: SqliteStore) -> TestClient:
    recommender = OnlineRecommender(bundle, EXACT, store.of_user, store.tracks)
    return client_of(recommender, store, token=None, clock_skew_s=300)


def test_answer_names_version_and_k_tracks_best_first(client: TestClient, bundle: Bundle) -> None:
    answer = ask(client, user_id=bundle.user_ids[0], k=7)
    assert answer["model_version"] == "fsvae/7"
    assert answer["known_user"] is True
    scores = [track["score"] for track in answer["tracks"]]
    assert len(scores) == 7 and scores == sorted(scores, reverse=True)
    titles = dict(bundle.tracks.select("track_id", "title").iter_rows())
    assert all(track["title"] == titles[track["track_id"]] for track in answer["tracks"])


def test_served_prediction_is_the_evaluated_one(bundle: Bundle, small_dataset: Dataset) -> None:
    """A user's last listen, asked for online from the listens before it, gives the batch prediction's tracks."""
    listens = small_dataset.listens
    user = int(np.argmax(np.diff(listens.offsets)))
    begin, last = int(listens.offsets[user]), int(listens.offsets[user + 1]) - 1
    at = int(listens.played_at[last])
    batch = {
        int(target): query
        for part in NetworkPredictor(bundle.model).predict(small_dataset, at, at + 1)
        for target, query in zip(part.targets, part.queries, strict=True)
    }
    scores = 1 - cosine_distance(
        np.repeat(batch[last][None], len(small_dataset.vectors), 0),
        small_dataset.vectors,
    )

    slow = small_dataset.snapshots.features(small_dataset.slow_row[[last]])[0]
    track_ids = small_dataset.tracks["track_id"].to_list()
    history = [
        RecentListen(track_ids[track], int(played_at), float(fraction))
        for track, played_at, fraction in zip(
            listens.track[begin:last],
            listens.played_at[begin:last],
            listens.played_fraction[begin:last],
            strict=True,
        )
    ]

    class AsOfLastDay:
        """The bundle with one user whose history is empty and whose slow snapshot is that of the last listen's day."""

        model, tracks, track_ids, shared = bundle.model, bundle.tracks, bundle.track_ids, bundle.shared
        vectors = bundle.vectors

        def state(self, user_id: str) -> UserState:
            return new_user(bundle.model)

        def slow(self, user_ids: Sequence[str], at: Sequence[int]) -> Any:
            return [slow] * len(user_ids)

        until = 0

        def __contains__(self, user_id: str) -> bool:
            return True

    answer = OnlineRecommender(AsOfLastDay(), EXACT).next_tracks("anyone", history, k=5, at=at)  # type: ignore[arg-type]
    assert [track.score for track in answer.tracks] == pytest.approx(np.sort(scores)[::-1][:5].tolist(), abs=1e-4)
    assert answer.recent_used == len(history)


def test_recent_listens_that_are_in_the_stored_history_are_not_read_twice(
    client: TestClient, bundle: Bundle, small_dataset: Dataset
) -> None:
    listens = small_dataset.listens
    last = int(listens.offsets[1]) - 1
    played_at = datetime.fromtimestamp(listens.played_at[last] / 1e6, UTC).isoformat()
    track_id = small_dataset.tracks["track_id"][int(listens.track[last])]
    at = "2027-01-01T12:00:00Z"
    stored = ask(client, user_id=bundle.user_ids[0], at=at)
    again = ask(client, user_id=bundle.user_ids[0], at=at, recent=[{"track_id": track_id, "played_at": played_at}])
    assert again["recent_used"] == 0 and again["tracks"] == stored["tracks"]
    later = ask(client, user_id=bundle.user_ids[0], at=at, recent=[track_id])
    assert later["recent_used"] == 1 and later["tracks"] != stored["tracks"]


def test_unknown_user_and_unknown_tracks_get_an_answer(client: TestClient, bundle: Bundle) -> None:
    answer = ask(client, user_id="nobody", recent=["no-such-track", bundle.track_ids[0]], k=3)
    assert answer["known_user"] is False
    assert answer["unknown_tracks"] == ["no-such-track"]
    assert answer["recent_used"] == 2 and len(answer["tracks"]) == 3
    assert len(ask(client, user_id="nobody", k=3)["tracks"]) == 3


def test_k_beyond_the_tracks_gives_all_with_a_vector(client: TestClient, bundle: Bundle) -> None:
    tracks = ask(client, user_id="nobody", k=MAX_K)["tracks"]
    assert sorted(track["track_id"] for track in tracks) == sorted(bundle.track_ids)


def test_the_hour_of_the_request_moves_the_answer(client: TestClient, bundle: Bundle) -> None:
    user = bundle.user_ids[0]
    assert ask(client, user_id=user, at="2027-01-01T06:00:00Z") != ask(client, user_id=user, at="2027-01-01T20:00:00Z")


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({}, "give user_id, or recent listens"),
        ({"user_id": "a", "k": 0}, "greater than or equal to 1"),
        ({"user_id": "a", "k": MAX_K + 1}, f"less than or equal to {MAX_K}"),
        ({"user_id": ""}, "at least 1 character"),
        ({"user_id": "a" * 257}, "at most 256 characters"),
        ({"user_id": "a", "colour": "red"}, "colour"),
        ({"recent": ["t"] * (MAX_RECENT + 1)}, f"at most {MAX_RECENT} items"),
        ({"recent": [{"track_id": "t", "played_at": "yesterday"}]}, "played_at"),
        ({"recent": [{"track_id": "t", "played_at": "2026-01-01T00:00:00"}]}, "timezone"),
        ({"recent": [{"track_id": "t", "played_fraction": 1.5}]}, "less than or equal to 1"),
        ({"user_id": "a", "at": "1969-12-31T23:59:59Z"}, "not between 1970 and 2100"),
        ({"user_id": "a", "at": "2100-01-01T00:00:01Z"}, "not between 1970 and 2100"),
        ({"recent": [{"track_id": "t", "played_at": "1969-12-31T23:59:59Z"}]}, "not between 1970 and 2100"),
        (
            {
                "recent": [
                    {"track_id": "t", "played_at": "2026-01-02T00:00:00Z"},
                    {"track_id": "t", "played_at": "2026-01-01T00:00:00Z"},
                ]
            },
            "oldest first",
        ),
        (
            {"recent": [{"track_id": "t", "played_at": "2026-01-02T00:00:00Z"}], "at": "2026-01-01T00:00:00Z"},
            "later than the request",
        ),
    ],
)
def test_bad_input_is_a_422_that_says_what_is_wrong(client: TestClient, question: dict[str, Any], says: str) -> None:
    response = client.post("/v1/next-tracks", json=question)
    assert response.status_code == 422
    assert says in response.text


def test_broken_json_is_a_422(client: TestClient) -> None:
    response = client.post("/v1/next-tracks", content=b'{"user_id": ', headers={"Content-Type": "application/json"})
    assert response.status_code == 422 and "JSON" in response.text


def test_bodies_are_bounded(client: TestClient) -> None:
    assert client.post("/v1/next-tracks", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    assert client.post("/v1/next-tracks", content=iter([b"{}"])).status_code == 411  # chunked: no length


def test_token_is_asked_for_where_one_is_set(bundle: Bundle, store: SqliteStore) -> None:
    recommender = OnlineRecommender(bundle, EXACT)
    client = client_of(recommender, store, token="s3cret", clock_skew_s=300)
    question = {"user_id": "nobody"}
    assert client.post("/v1/next-tracks", json=question).status_code == 401
    wrong = {"Authorization": "Bearer guess"}
    assert client.post("/v1/next-tracks", json=question, headers=wrong).status_code == 401
    right = {"Authorization": "Bearer s3cret"}
    assert client.post("/v1/next-tracks", json=question, headers=right).status_code == 200
    assert client.get("/healthz").json() == {"status": "ok", "model_version": "fsvae/7"}


def test_listens_without_times_are_counted_back_from_what_follows(bundle: Bundle) -> None:
    """Two tracks before a request at t, untimed, are the same as timed ones at t - 420 s and t - 210 s."""
    recommender = OnlineRecommender(bundle, EXACT)
    a, b = bundle.track_ids[:2]
    at = 1_800_000_000_000_000
    untimed = recommender.next_tracks(None, [RecentListen(a), RecentListen(b)], 5, at)
    timed = [RecentListen(a, at - 420_000_000), RecentListen(b, at - 210_000_000)]
    assert untimed == recommender.next_tracks(None, timed, 5, at)


def test_recent_listens_at_one_time_all_count(bundle: Bundle) -> None:
    recommender = OnlineRecommender(bundle, EXACT)
    a, b, c = bundle.track_ids[:3]
    at = 1_800_000_000_000_000
    together = [RecentListen(a, at - 9), RecentListen(b, at - 9), RecentListen(c)]
    assert recommender.next_tracks(None, together, 5, at).recent_used == 3


def test_an_untimed_recent_listen_is_new_however_fresh_the_history_is(bundle: Bundle) -> None:
    recommender = OnlineRecommender(bundle, EXACT)
    user = bundle.user_ids[0]
    last = bundle.last_played_at(user)
    assert last is not None
    answer = recommender.next_tracks(user, [RecentListen(bundle.track_ids[0])], 5, last + 60_000_000)
    assert answer.recent_used == 1


def listen_at(bundle: Bundle, at: datetime) -> dict[str, str]:
    return {"track_id": bundle.track_ids[0], "played_at": at.isoformat()}


def test_a_listen_ahead_of_the_servers_clock_is_the_time_of_the_request(client: TestClient, bundle: Bundle) -> None:
    """A player's clock may be ahead: nothing is predicted for a time before the last listen."""
    ahead = datetime.now(UTC) + timedelta(seconds=60)
    found = ask(client, recent=[listen_at(bundle, ahead)])
    assert found == ask(client, recent=[listen_at(bundle, ahead)], at=ahead.isoformat())
    response = client.post("/v1/next-tracks", json={"recent": [listen_at(bundle, ahead + timedelta(seconds=600))]})
    assert response.status_code == 422 and "more than 300 s later than the request" in response.text


def test_a_listen_ahead_of_the_time_that_is_given_is_within_the_skew(client: TestClient, bundle: Bundle) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    last = at + timedelta(seconds=300)
    found = ask(client, recent=[bundle.track_ids[1], listen_at(bundle, last)], at=at.isoformat())
    assert found == ask(client, recent=[bundle.track_ids[1], listen_at(bundle, last)], at=last.isoformat())
    later = listen_at(bundle, last + timedelta(microseconds=1))
    response = client.post("/v1/next-tracks", json={"recent": [later], "at": at.isoformat()})
    (fault,) = response.json()["detail"]
    assert response.status_code == 422 and fault["loc"] == ["body", "recent"]


def test_without_a_skew_no_listen_may_be_later_than_the_request(bundle: Bundle, store: SqliteStore) -> None:
    recommender = OnlineRecommender(bundle, EXACT)
    strict = client_of(recommender, store, token=None, clock_skew_s=0)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert ask(strict, recent=[listen_at(bundle, at)], at=at.isoformat())["recent_used"] == 1
    later = listen_at(bundle, at + timedelta(microseconds=1))
    response = strict.post("/v1/next-tracks", json={"recent": [later], "at": at.isoformat()})
    assert response.status_code == 422 and "recent holds a listen that is later than the request" in response.text


@pytest.mark.parametrize(
    ("item", "loc", "says"),
    [
        ("", ["track_id"], "String should have at least 1 character"),
        (5, [], "neither a track id nor an object with a track_id"),
        ({}, ["track_id"], "Field required"),
        (
            {"track_id": "t", "played_at": "noon"},
            ["played_at"],
            "Input should be a valid datetime or date, input is too short",
        ),
    ],
)
def test_a_bad_recent_listen_is_one_clear_message(client: TestClient, item: Any, loc: list[str], says: str) -> None:
    response = client.post("/v1/next-tracks", json={"recent": ["fine", item]})
    assert response.status_code == 422
    found = [(fault["loc"], fault["msg"]) for fault in response.json()["detail"]]
    assert found == [(["body", "recent", 1, *loc], says)]


def test_messages_are_without_pydantics_prefix(client: TestClient) -> None:
    detail = client.post("/v1/next-tracks", json={}).json()["detail"]
    assert [fault["msg"] for fault in detail] == ["give user_id, or recent listens, or both"]


def test_a_request_before_the_last_stored_listen_is_refused(client: TestClient, bundle: Bundle) -> None:
    user = bundle.user_ids[0]
    last = bundle.last_played_at(user)
    assert last is not None

    def at(time_us: int) -> str:
        return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat()

    assert ask(client, user_id=user, at=at(last))["known_user"]
    response = client.post("/v1/next-tracks", json={"user_id": user, "at": at(last - 301_000_000)})
    assert response.status_code == 422
    assert [fault["loc"] for fault in response.json()["detail"]] == [["body", "at"]]
    assert f"before the last listen that the model knows of {user}, at {at(last)}" in response.text
    assert ask(client, user_id="nobody", at=at(last - 1))["known_user"] is False


def test_now_is_not_before_what_is_known_of_the_user(
    bundle: Bundle, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine whose clock is behind the log."""
    monkeypatch.setattr("fsvae.online_asked.time.time_ns", lambda: 5_000)
    recommender = OnlineRecommender(bundle, EXACT)
    user = bundle.user_ids[0]
    assert recommender.now(user) == recommender.last_heard(user) and recommender.now("nobody") == 5
    client = client_of(recommender, store, token=None, clock_skew_s=300)
    assert ask(client, user_id=user)["known_user"]


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_another_content_type_is_told_the_right_one(client: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = client.post("/v1/next-tracks", content=b'{"user_id": "a"}', headers=headers)
    assert response.status_code == 415 and response.json() == {"detail": "send Content-Type: application/json"}
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/v1/next-tracks", content=b'{"user_id": "a"}', headers=headers).status_code == 200


def test_the_page_of_the_api_says_that_a_recent_listen_may_be_a_bare_id(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    items = schemas["NextTracksRequest"]["properties"]["recent"]["items"]["anyOf"]
    assert [item.get("type", item.get("$ref")) for item in items] == ["string", "#/components/schemas/Listen"]


@pytest.mark.parametrize(
    "body",
    ['{"user_id": "a", "k": NaN}', '{"user_id": "\\ud800"}', '{"recent": [{"track_id": "t", "played_fraction": NaN}]}'],
)
def test_what_json_cannot_say_is_a_422_too(client: TestClient, body: str) -> None:
    response = client.post("/v1/next-tracks", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text


def scores(answer: dict[str, Any]) -> dict[str, float]:
    return {track["track_id"]: track["score"] for track in answer["tracks"]}


def test_a_posted_listen_changes_the_next_answer_as_a_recent_one_does(client: TestClient, bundle: Bundle) -> None:
    user, tracks = bundle.user_ids[1], bundle.track_ids
    last = bundle.last_played_at(user)
    assert last is not None
    times = [datetime.fromtimestamp(last / 1e6, UTC) + timedelta(minutes=minutes) for minutes in (3, 6, 9)]
    listens = [
        {"track_id": tracks[place], "played_at": at.isoformat(), "played_fraction": fraction}
        for place, at, fraction in zip((5, 9), times, (1.0, 0.25), strict=False)
    ]
    before = scores(ask(client, user_id=user, at=times[2].isoformat(), k=50))
    recent = scores(ask(client, user_id=user, at=times[2].isoformat(), k=50, recent=listens))
    assert before != pytest.approx(recent, abs=1e-3)
    posted = [{"event_id": f"{user}-{n}", "user_id": user, **listen} for n, listen in enumerate(listens)]
    assert post(client, *posted) == {"stored": 2, "known_already": 0}
    after = ask(client, user_id=user, at=times[2].isoformat(), k=50)
    assert scores(after) == pytest.approx(recent, abs=1e-6)
    assert post(client, *posted) == {"stored": 0, "known_already": 2}
    told_again = ask(client, user_id=user, at=times[2].isoformat(), k=50, recent=listens)
    assert told_again["recent_used"] == 0 and scores(told_again) == scores(after)


def test_a_user_is_born_on_the_first_listen(client: TestClient, bundle: Bundle) -> None:
    assert not ask(client, user_id="newborn")["known_user"]
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    post(client, {"event_id": "b1", "user_id": "newborn", "track_id": bundle.track_ids[3], "played_at": at.isoformat()})
    next_day = (at + timedelta(days=1)).isoformat()
    answer = ask(client, user_id="newborn", at=next_day, k=50)
    assert answer["known_user"] and answer["recent_used"] == 0
    stranger = ask(client, recent=[{"track_id": bundle.track_ids[3], "played_at": at.isoformat()}], at=next_day, k=50)
    assert scores(answer) != pytest.approx(scores(stranger), abs=1e-4)  # yesterday is in the slow features now


def test_a_listen_without_a_time_is_now(client: TestClient, bundle: Bundle, store: SqliteStore) -> None:
    post(client, {"event_id": "n1", "user_id": "hasty", "track_id": bundle.track_ids[0]})
    (listen,) = store.of_user("hasty", 0)
    assert abs(listen.played_at / 1e6 - datetime.now(UTC).timestamp()) < 60 and listen.played_fraction == 1.0


@pytest.mark.parametrize(
    ("listen", "loc", "says"),
    [
        ({}, ["event_id"], "Field required"),
        ({"event_id": "x", "user_id": "", "track_id": "t"}, ["user_id"], "at least 1 character"),
        ({"event_id": "x", "user_id": "u", "track_id": "t", "played_fraction": 2}, ["played_fraction"], "less than"),
        ({"event_id": "x", "user_id": "u", "track_id": "t", "skipped": True}, ["skipped"], "not permitted"),
        (
            {"event_id": "x", "user_id": "u", "track_id": "t", "played_at": "2099-01-01T00:00:00Z"},
            ["played_at"],
            "more than 300 s later than the clock of this machine",
        ),
    ],
)
def test_a_bad_listen_is_named_by_its_place_and_nothing_is_stored(
    client: TestClient, store: SqliteStore, listen: dict[str, Any], loc: list[str], says: str
) -> None:
    good = {"event_id": "good", "user_id": "refused", "track_id": "t"}
    response = client.post("/v1/listens", json={"listens": [good, listen]})
    assert response.status_code == 422
    assert any(
        fault["loc"] == ["body", "listens", 1, *loc] and says in fault["msg"] for fault in response.json()["detail"]
    )
    assert store.of_user("refused", 0) == []


def test_posted_listens_are_bounded(client: TestClient) -> None:
    listens = [{"event_id": str(n), "user_id": "many", "track_id": "t"} for n in range(MAX_POSTED + 1)]
    response = client.post("/v1/listens", json={"listens": listens})
    assert response.status_code == 422 and f"at most {MAX_POSTED}" in response.text
    assert client.post("/v1/listens", json={"listens": []}).status_code == 422


def test_a_store_that_does_not_answer_is_a_503_and_to_be_asked_again(bundle: Bundle) -> None:
    class Silent:
        def add(self, listens: object) -> Future[list[int]]:
            done: Future[list[int]] = Future()
            done.set_exception(StoreError("locked"))
            return done

        def of_user(self, user_id: str, after: int) -> list[LiveEvent]:
            raise StoreError("locked")

        def close(self) -> None: ...

    recommender = OnlineRecommender(bundle, EXACT, Silent().of_user)
    client = client_of(recommender, Silent(), token=None, clock_skew_s=300)
    listen = {"event_id": "a", "user_id": "u", "track_id": "t"}
    for where, body in (("listens", {"listens": [listen]}), ("next-tracks", {"user_id": "u"})):
        response = client.post(f"/v1/{where}", json=body)
        assert response.status_code == 503 and response.headers["Retry-After"] == "1"
        assert response.json() == {"detail": "the store does not answer: locked"}


def test_a_request_a_little_before_a_posted_listen_is_made_at_its_time(client: TestClient, bundle: Bundle) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    post(client, {"event_id": "s", "user_id": "ahead", "track_id": bundle.track_ids[2], "played_at": at.isoformat()})
    then = ask(client, user_id="ahead", at=at.isoformat(), k=50)
    behind = ask(client, user_id="ahead", at=(at - timedelta(seconds=299)).isoformat(), k=50)
    assert scores(behind) == scores(then)
    response = client.post(
        "/v1/next-tracks", json={"user_id": "ahead", "at": (at - timedelta(seconds=301)).isoformat()}
    )
    assert response.status_code == 422 and "before the last listen" in response.text


def test_tracks_that_are_not_known_are_told_apart_in_the_slow_features(client: TestClient) -> None:
    """Ten new tracks are ten tracks, and one of them heard ten times is one."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for user, tracks in (("explorer", [f"new{n}" for n in range(10)]), ("fan", ["new0"] * 10)):
        post(
            client,
            *(
                {"event_id": str(n), "user_id": user, "track_id": track, "played_at": at.isoformat()}
                for n, track in enumerate(tracks)
            ),
        )
    next_day = (at + timedelta(days=1)).isoformat()
    explorer, fan = (scores(ask(client, user_id=user, at=next_day, k=50)) for user in ("explorer", "fan"))
    assert explorer != pytest.approx(fan, abs=1e-4)
