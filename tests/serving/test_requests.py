"""What a request may ask for beside the next tracks: filters, repeats, diversity, explanations, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from endpoints import ask, client_of, memory_bundle
from fastapi.testclient import TestClient

from fsvae.bundle import Bundle
from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US
from fsvae.live_users import LiveEvent
from fsvae.online_question import Answer, Question, RecentListen
from fsvae.online_recommender import OnlineRecommender
from serving.stores.sqlite_store import SqliteStore


@pytest.fixture(scope="module")
def bundle(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return memory_bundle(small_dataset, tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("live") / "listens.sqlite")
    yield store
    store.close()


@pytest.fixture
def client(bundle: Bundle, store: SqliteStore) -> TestClient:
    return client_of(OnlineRecommender(bundle, came=store.of_user, notices=store.tracks), store)


def first(answer: dict[str, Any], number: int = 3) -> list[str]:
    return [track["track_id"] for track in answer["tracks"]][:number]


def test_excluded_tracks_and_artists_are_left_out_and_the_others_move_up(client: TestClient, bundle: Bundle) -> None:
    user, all_tracks = bundle.user_ids[0], first(ask(client, user_id=bundle.user_ids[0], k=50), 50)
    assert first(ask(client, user_id=user, exclude={"tracks": all_tracks[:2]}, k=5)) == all_tracks[2:5]
    artist_of = dict(bundle.tracks.select("track_id", "artist_id").iter_rows())
    named = dict(bundle.tracks.select("track_id", "artist_name").iter_rows())
    unwanted = artist_of[all_tracks[0]]
    others = [track for track in all_tracks if artist_of[track] != unwanted]
    assert first(ask(client, user_id=user, exclude={"artists": [unwanted]}, k=5)) == others[:3]
    assert first(ask(client, user_id=user, exclude={"artists": [named[all_tracks[0]]]}, k=5)) == others[:3]


def test_only_some_tracks_are_recommended_with_the_scores_that_they_have(client: TestClient, bundle: Bundle) -> None:
    user = bundle.user_ids[0]
    whole = {track["track_id"]: track["score"] for track in ask(client, user_id=user, k=500, at=FAR)["tracks"]}
    wanted = [*list(whole)[40:43], "no such track"]
    found = ask(client, user_id=user, only=wanted, at=FAR)
    assert first(found, 9) == wanted[:3]
    assert [track["score"] for track in found["tracks"]] == pytest.approx([whole[track] for track in wanted[:3]])
    assert ask(client, user_id=user, only=[])["tracks"] == []


FAR = "2027-01-01T12:00:00Z"


def test_repeats_are_allowed_reduced_or_forbidden(client: TestClient, bundle: Bundle) -> None:
    user = bundle.user_ids[0]
    heard = {bundle.track_ids[track] for track in bundle.heard(user) if track < len(bundle.track_ids)}
    allowed = ask(client, user_id=user, k=500, at=FAR)
    assert set(first(allowed, 5)) & heard
    forbidden = ask(client, user_id=user, k=500, at=FAR, repeats="forbidden", recent=[bundle.track_ids[-1]])
    assert not set(first(forbidden, 500)) & (heard | {bundle.track_ids[-1]})
    assert len(forbidden["tracks"]) == len(bundle.track_ids) - len(heard | {bundle.track_ids[-1]})
    reduced = {
        track["track_id"]: track["score"]
        for track in ask(client, user_id=user, k=500, at=FAR, repeats="reduced")["tracks"]
    }
    for track in allowed["tracks"]:
        share = 0.1 if track["track_id"] in heard else 1.0
        assert reduced[track["track_id"]] == pytest.approx(share * track["score"], rel=1e-5)


def test_a_draw_is_repeated_with_its_seed_and_none_is_drawn_at_0(client: TestClient, bundle: Bundle) -> None:
    user = bundle.user_ids[0]
    mean = ask(client, user_id=user, k=20, at=FAR)
    one, again = (ask(client, user_id=user, k=20, at=FAR, diversity=3.0, seed=7) for _ in range(2))
    assert one == again and one["tracks"] != mean["tracks"]
    assert ask(client, user_id=user, k=20, at=FAR, diversity=3.0, seed=8)["tracks"] != one["tracks"]
    assert ask(client, user_id=user, k=20, at=FAR, diversity=0.0, seed=7) == mean
    unseeded = [ask(client, user_id=user, k=20, at=FAR, diversity=3.0)["tracks"] for _ in range(3)]
    assert unseeded[0] != unseeded[1] or unseeded[1] != unseeded[2]


def test_shares_say_what_a_score_rests_on(client: TestClient, bundle: Bundle) -> None:
    found = ask(client, user_id=bundle.user_ids[0], k=100, at=FAR, explain=True)
    assert 0 <= found["mood_from_taste"] <= 2
    heard = {bundle.track_ids[track] for track in bundle.heard(bundle.user_ids[0]) if track < len(bundle.track_ids)}
    for track in found["tracks"]:
        assert sum(track["shares"].values()) == pytest.approx(1)
        assert (track["shares"]["own_memory"] > 0) == (track["track_id"] in heard)
    plain = ask(client, user_id=bundle.user_ids[0], k=100, at=FAR)
    assert "mood_from_taste" not in plain and all("shares" not in track for track in plain["tracks"])
    assert first(plain, 100) == first(found, 100)


def test_without_memory_a_score_rests_on_mood_and_taste_alone(
    small_dataset: Dataset, store: SqliteStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = memory_bundle(
        small_dataset,
        tmp_path_factory.mktemp("plain"),
        slow_memory=False,
        fast_memory=False,
        shared_memory=False,
        artist_memory=False,
        track_records=False,
        ranked=0,
    )
    client = client_of(OnlineRecommender(bundle, came=store.of_user), store)
    (track,) = ask(client, user_id=bundle.user_ids[0], k=1, explain=True)["tracks"]
    shares = track["shares"]
    assert shares["own_memory"] == shares["shared_memory"] == 0 and shares["mood"] + shares["taste"] == pytest.approx(1)
    heard = {bundle.track_ids[one] for one in bundle.heard(bundle.user_ids[0]) if one < len(bundle.track_ids)}
    assert not heard & set(first(ask(client, user_id=bundle.user_ids[0], repeats="forbidden"), 10))


def test_a_batch_gives_what_its_requests_give_alone(client: TestClient, bundle: Bundle) -> None:
    requests: list[dict[str, Any]] = [
        {"user_id": bundle.user_ids[0], "k": 5, "at": FAR},
        {"user_id": bundle.user_ids[1], "k": 3, "at": FAR, "recent": [bundle.track_ids[4]]},
        {"recent": [bundle.track_ids[0], "unheard of"], "at": FAR},
        {"user_id": "nobody", "at": FAR, "repeats": "forbidden", "exclude": {"tracks": [bundle.track_ids[0]]}},
        {"user_id": bundle.user_ids[2], "at": FAR, "diversity": 2.0, "seed": 1},
    ]
    response = client.post("/v1/next-tracks", json={"requests": requests})
    assert response.status_code == 200
    for together, request in zip(response.json()["answers"], requests, strict=True):
        alone = ask(client, **request)
        assert first(together, 10) == first(alone, 10)
        scores, same = ([track["score"] for track in found["tracks"]] for found in (together, alone))
        assert scores == pytest.approx(same, abs=1e-5)
        assert together | {"tracks": 0, "uncertainty": 0} == alone | {"tracks": 0, "uncertainty": 0}


def test_what_is_wrong_with_one_of_a_batch_does_not_refuse_the_others(client: TestClient, bundle: Bundle) -> None:
    requests = [
        {"user_id": bundle.user_ids[0], "at": "2020-01-01T00:00:00Z"},
        {"user_id": bundle.user_ids[1], "at": FAR},
    ]
    refused, fine = client.post("/v1/next-tracks", json={"requests": requests}).json()["answers"]
    assert refused["detail"][0]["loc"] == ["body", "at"] and len(fine["tracks"]) == 10
    response = client.post("/v1/next-tracks", json={"requests": [{"user_id": "a", "k": 0}]})
    assert response.status_code == 422 and response.json()["detail"][0]["loc"] == ["body", "requests", 0, "k"]


@pytest.mark.parametrize(
    ("question", "loc"),
    [
        ({"requests": []}, ["body", "requests"]),
        ({"requests": [{"user_id": "a"}] * 65}, ["body", "requests"]),
        ({"requests": [{"recent": ["a"] * 500}] * 9}, ["body"]),
        ({"user_id": "a", "repeats": "never"}, ["body", "repeats"]),
        ({"user_id": "a", "diversity": -1}, ["body", "diversity"]),
        ({"user_id": "a", "seed": -1}, ["body", "seed"]),
        ({"user_id": "a", "exclude": {"albums": []}}, ["body", "exclude", "albums"]),
        ({"user_id": "a", "only": [""]}, ["body", "only", 0]),
    ],
)
def test_what_cannot_be_asked_for_is_named(client: TestClient, question: dict[str, Any], loc: list[Any]) -> None:
    response = client.post("/v1/next-tracks", json=question)
    assert response.status_code == 422 and response.json()["detail"][0]["loc"] == loc


def test_answers_of_a_large_batch_are_those_of_single_requests(bundle: Bundle) -> None:
    """Users with histories of all lengths side by side; of some something came since, and some name recent listens."""
    at = 1_900_000_000_000_000
    users = [*bundle.user_ids[:40], "nobody"]
    posted = {
        user_id: [LiveEvent(n + 1, bundle.track_ids[n], at - 3 * DAY_US)] for n, user_id in enumerate(users) if n % 2
    }

    def came(user_id: str, after: int) -> list[LiveEvent]:
        return [one for one in posted.get(user_id, []) if one.sequence > after]

    recent = [tuple(RecentListen(bundle.track_ids[(n + 7 * i) % 50]) for i in range(n % 3)) for n in range(len(users))]
    questions = [Question(user_id, recent=some, k=20, at=at) for user_id, some in zip(users, recent, strict=True)]
    together = OnlineRecommender(bundle, came=came).answers(questions)
    for question, answer in zip(questions, together, strict=True):
        bundle._snapshots.clear()
        (alone,) = OnlineRecommender(bundle, came=came).answers([question])
        assert isinstance(answer, Answer) and isinstance(alone, Answer)
        assert [track.score for track in answer.tracks] == pytest.approx([it.score for it in alone.tracks], abs=1e-5)
