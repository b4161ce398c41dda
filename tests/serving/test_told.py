"""What the endpoint is told: likes and dislikes, tracks added and hidden, users forgotten; and how well it does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoints import ask, client_of, client_of_models, memory_bundle, post
from fastapi.testclient import TestClient

from fsvae.bundle import Bundle
from fsvae.data.dataset import Dataset
from fsvae.online_recommender import OnlineRecommender
from serving.accuracy import accuracy_of, means
from serving.metrics import Metrics
from serving.model_thread import Model, ModelThread
from serving.serve_config import ServeConfig
from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import Accuracy, Served
from serving.swap import exchange

FAR = "2027-01-01T12:00:00Z"
SECRET = {"Authorization": "Bearer s3cret"}


@pytest.fixture(scope="module")
def folders(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of the bundles of two models."""
    folders = [tmp_path_factory.mktemp("bundle") for _ in range(2)]
    for seed, folder in enumerate(folders):
        memory_bundle(small_dataset, folder, seed)
    return folders


@pytest.fixture(scope="module")
def bundle(small_dataset: Dataset, folders: list[Path]) -> Bundle:
    from fsvae.bundle import load_bundle

    return load_bundle(folders[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "listens.sqlite")
    yield store
    store.close()


def started(bundle: Bundle, store: SqliteStore, token: str | None = None) -> TestClient:
    client = client_of(OnlineRecommender(bundle, came=store.of_user, notices=store.tracks), store, token)
    client.headers.update(SECRET if token else {})
    return client


@pytest.fixture
def client(bundle: Bundle, store: SqliteStore) -> TestClient:
    return started(bundle, store)


def event(user_id: str, track_id: str, number: int, at: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"event_id": f"e{number}", "user_id": user_id, "track_id": track_id, **more}
    return told if at is None else told | {"played_at": at}


def recommended(client: TestClient, user_id: str, **more: Any) -> list[str]:
    return [track["track_id"] for track in ask(client, user_id=user_id, k=500, at=FAR, **more)["tracks"]]


def test_a_disliked_track_is_not_recommended_to_that_user_until_it_is_undisliked(
    client: TestClient, bundle: Bundle, store: SqliteStore
) -> None:
    user, other = bundle.user_ids[:2]
    best = recommended(client, user)[0]
    assert post(client, event(user, best, 1, kind="dislike")) == {"stored": 1, "known_already": 0}
    assert best not in recommended(client, user) and best in recommended(client, other)
    assert best not in recommended(client, user, only=[best])
    assert best not in recommended(started(bundle, store), user)  # after a restart
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    post(client, event(user, best, 2, later, kind="undislike"))
    assert best in recommended(client, user)
    earlier = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    post(client, event(user, best, 3, earlier, kind="dislike"))  # told late: what was said last counts
    assert best in recommended(client, user)


def test_skips_and_likes_are_no_listens_but_count_in_the_slow_features_of_later_days(
    client: TestClient, bundle: Bundle
) -> None:
    user = bundle.user_ids[3]
    last = bundle.last_played_at(user)
    assert last is not None
    day = datetime.fromtimestamp(bundle.until / 1e6, UTC)
    noon, evening, tomorrow = day + timedelta(hours=12), day + timedelta(hours=20), day + timedelta(days=1)
    before = [ask(client, user_id=user, k=50, at=at.isoformat()) for at in (evening, tomorrow)]
    told = [event(user, bundle.track_ids[place], place, noon.isoformat(), kind="skip") for place in range(20)]
    post(client, *told)
    after = [ask(client, user_id=user, k=50, at=at.isoformat()) for at in (evening, tomorrow)]
    assert after[0] == before[0]
    assert after[1]["tracks"] != before[1]["tracks"]
    assert client.get(f"/v1/users/{user}").json()["posted_listens"] == 0


def test_a_hidden_track_disappears_for_everybody_and_stays_hidden(bundle: Bundle, store: SqliteStore) -> None:
    client = started(bundle, store, token="s3cret")
    user = bundle.user_ids[0]
    best = recommended(client, user)[0]
    assert client.post(f"/v1/tracks/{best}/hide").status_code == 204
    for one in bundle.user_ids[:5]:
        assert best not in recommended(client, one)
    assert best not in recommended(started(bundle, store, token="s3cret"), user)
    assert client.get("/v1/model").json()["hidden_tracks"] == 1
    assert client.delete(f"/v1/tracks/{best}/hide").status_code == 204
    assert recommended(client, user)[0] == best


def test_hiding_needs_the_secret(bundle: Bundle, store: SqliteStore) -> None:
    without = started(bundle, store).post(f"/v1/tracks/{bundle.track_ids[0]}/hide")
    assert without.status_code == 403 and "FSVAE_TOKEN" in without.json()["detail"]
    client = started(bundle, store, token="s3cret")
    client.headers["Authorization"] = "Bearer guess"
    assert client.post(f"/v1/tracks/{bundle.track_ids[0]}/hide").status_code == 401
    assert store.tracks(0) == []


def test_a_track_that_is_added_is_near_its_artist_and_can_be_recommended(
    client: TestClient, bundle: Bundle, store: SqliteStore
) -> None:
    rows = bundle.tracks.filter("in_catalogue").select("track_id", "artist_id", "album")
    artist = rows["artist_id"].value_counts().sort("count", "artist_id")["artist_id"][-1]
    of_artist = rows.filter(rows["artist_id"] == artist)["track_id"].to_list()
    user = bundle.user_ids[0]
    before = ask(client, user_id=user, k=500, at=FAR)
    body = {"title": "Brand New", "artist_id": artist, "artist_name": "Somebody"}
    assert client.put("/v1/tracks/new one/1", json=body).status_code == 204
    after = ask(client, user_id=user, k=500, at=FAR)
    (added,) = [track for track in after["tracks"] if track["track_id"] == "new one/1"]
    assert (added["title"], added["artist"]) == ("Brand New", "Somebody") and added["score"] > 0
    assert len(after["tracks"]) == len(before["tracks"]) + 1
    assert sum(track["score"] for track in after["tracks"]) == pytest.approx(1, abs=1e-4)
    # the mean of the artist's tracks, by hand
    index = {track_id: place for place, track_id in enumerate(bundle.track_ids)}
    mean = bundle.vectors[[index[track] for track in of_artist]].sum(axis=0)
    cosines = bundle.vectors @ (mean / np.linalg.norm(mean))
    similar = client.get("/v1/tracks/new one/1/similar", params={"k": 3}).json()["tracks"]
    assert [track["track_id"] for track in similar] == [bundle.track_ids[i] for i in np.argsort(-cosines)[:3]]
    assert [track["score"] for track in similar] == pytest.approx(np.sort(cosines)[::-1][:3].tolist(), abs=1e-5)
    # a listen to it is one to a known track, also for whom it was unknown before
    assert ask(client, recent=["new one/1"])["unknown_tracks"] == []
    again = started(bundle, store)
    assert ask(again, user_id=user, k=500, at=FAR)["tracks"] == after["tracks"]
    # more are numbered behind it, and what is told of a track again changes what is shown
    client.put("/v1/tracks/a second", json={"title": "Second"})
    client.put("/v1/tracks/new one/1", json=body | {"title": "Renamed"})
    shown = ask(client, user_id=user, k=500, at=FAR, only=["new one/1", "a second"])["tracks"]
    assert [(track["track_id"], track["title"]) for track in shown] == [
        ("new one/1", "Renamed"),
        ("a second", "Second"),
    ]
    assert shown[1]["score"] == 0  # nothing is known of it
    assert client.get("/v1/model").json()["added_tracks"] == 2


def test_a_listen_to_a_track_counts_as_one_to_it_when_the_track_is_added_later(
    bundle: Bundle, store: SqliteStore
) -> None:
    artist = str(bundle.tracks["artist_id"][0])
    client, other = started(bundle, store), started(bundle, store)
    at = "2026-12-01T12:00:00Z"
    user = "listens early"
    store_client = client
    post(store_client, {"event_id": "a", "user_id": user, "track_id": "later", "played_at": "2026-06-01T12:00:00Z"})
    ask(client, user_id=user, at=at)  # its state has read the track as an unknown one
    client.put("/v1/tracks/later", json={"artist_id": artist})
    one = ask(client, user_id=user, at=at, k=20)
    assert one["tracks"] == ask(other, user_id=user, at=at, k=20)["tracks"]  # which knew the track all along
    assert "later" in [track["track_id"] for track in one["tracks"]]


@pytest.mark.parametrize("path", ["tracks/no such track/similar", "tracks/x/similar?k=0", "tracks/x/similar?k=501"])
def test_what_has_no_similar_tracks_is_said(client: TestClient, path: str) -> None:
    response = client.get(f"/v1/{path}")
    assert response.status_code == (404 if "=" not in path else 422), response.text


def test_a_user_is_summed_up_and_can_be_forgotten(client: TestClient, bundle: Bundle, store: SqliteStore) -> None:
    user, tracks = bundle.user_ids[1], bundle.track_ids
    last = bundle.last_played_at(user)
    assert last is not None
    then = datetime.fromtimestamp(last / 1e6, UTC)
    stranger = ask(client, user_id="stranger", k=50, at=FAR)["tracks"]
    known = client.get(f"/v1/users/{user}").json()
    assert known["known_user"] and known["posted_listens"] == 0
    post(
        client,
        event(user, tracks[3], 1, (then + timedelta(minutes=1)).isoformat()),
        event(user, tracks[4], 2, (then + timedelta(minutes=2)).isoformat()),
        event(user, tracks[5], 3, (then + timedelta(minutes=3)).isoformat(), kind="like"),
        event(user, tracks[6], 4, (then + timedelta(minutes=4)).isoformat(), kind="dislike"),
    )
    summary = client.get(f"/v1/users/{user}").json()
    assert summary["listens"] == known["listens"] + 2 and summary["posted_listens"] == 2
    assert summary["latest"] == [tracks[4], tracks[3]]
    assert (summary["liked"], summary["disliked"]) == ([tracks[5]], [tracks[6]])
    assert client.delete(f"/v1/users/{user}").status_code == 204
    for one in (client, started(bundle, store)):
        gone = one.get(f"/v1/users/{user}").json()
        assert (gone["known_user"], gone["listens"], gone["disliked"]) == (False, 0, [])
        assert ask(one, user_id=user, k=50, at=FAR)["tracks"] == stranger
    assert [stored.event.kind for stored in store.since(0)] == ["erased"]
    # who comes back is a new user
    post(client, event(user, tracks[3], 9, (then + timedelta(days=300)).isoformat()))
    assert client.get(f"/v1/users/{user}").json()["listens"] == 1
    assert ask(client, user_id=user, k=50, at=FAR)["known_user"]


def test_ranks_of_what_was_played_are_taken_before_it_changes_the_state(
    client: TestClient, bundle: Bundle, store: SqliteStore
) -> None:
    user = bundle.user_ids[2]
    last = bundle.last_played_at(user)
    assert last is not None
    ranks = []
    for number in range(1, 4):
        at = datetime.fromtimestamp(bundle.until / 1e6, UTC) + timedelta(minutes=number)
        best = [track["track_id"] for track in ask(client, user_id=user, k=500, at=at.isoformat())["tracks"]]
        played = best[(0, 11, 4)[number - 1]]
        ranks.append(best.index(played) + 1)
        post(client, event(user, played, number, at.isoformat()))
    client.get("/v1/model")  # comes after the ranks, and the write after that after theirs
    post(client, event(user, "any", 4, kind="like"))
    found = client.get("/v1/model").json()
    for window in ("last_hour", "last_day"):
        (one,) = found[window]
        assert one["listens"] == 3 and one["model_version"] == "fsvae/7"
        assert one["recall_at_10"] == pytest.approx(2 / 3)
        assert one["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / 3)
    text = client.get("/metrics").text
    assert 'fsvae_online_accuracy{figure="recall_at_10",version="fsvae/7",window="hour"} 0.666' in text
    assert 'fsvae_events_total{kind="listen"} 3.0' in text and 'fsvae_model{version="fsvae/7"} 1.0' in text


def test_of_a_users_many_listens_in_one_post_only_the_first_are_ranked(client: TestClient, bundle: Bundle) -> None:
    """Each rank needs the state after the listen before it, and others wait meanwhile."""
    at = datetime.fromtimestamp(bundle.until / 1e6, UTC)
    events = [
        event(user, bundle.track_ids[number], n * 100 + number, (at + timedelta(minutes=number)).isoformat())
        for n, user in enumerate(bundle.user_ids[:2])
        for number in range((20, 5)[n])
    ]
    post(client, *events)
    client.get("/v1/model")  # comes after the ranks, and the write after that after theirs
    post(client, event(bundle.user_ids[0], "any", 999, kind="like"))
    (found,) = client.get("/v1/model").json()["last_hour"]
    assert found["listens"] == 8 + 5
    assert 'fsvae_scored_total{taken="no"} 12.0' in client.get("/metrics").text


def test_accuracy_is_summed_by_hand() -> None:
    one = accuracy_of("v", 5, [1, 10, 11])
    assert one == Accuracy("v", 5, 3, 2.0, 1 + 1 / 10 + 1 / 11, 1 + 1 / np.log2(11))
    other = accuracy_of("v", 4, [3])
    (both,) = means([other, one], 4)
    assert (both.listens, both.recall_at_10) == (4, 0.75)
    (late,) = means([other, one], 5)
    assert late.listens == 3 and late.ndcg_at_10 == pytest.approx((1 + 1 / np.log2(11)) / 3)


def test_a_listen_of_the_time_that_the_model_has_learned_from_has_no_rank(client: TestClient, bundle: Bundle) -> None:
    late = datetime.fromtimestamp(bundle.until / 1e6, UTC) - timedelta(seconds=1)
    post(client, event("a new user", bundle.track_ids[0], 1, late.isoformat()))
    assert client.get("/v1/model").json()["last_day"] == []
    assert 'fsvae_scored_total{taken="no"} 1.0' in client.get("/metrics").text


def test_another_model_takes_over_with_the_states_of_all_users(
    bundle: Bundle, folders: list[Path], store: SqliteStore
) -> None:
    config = ServeConfig()
    models = ModelThread(
        Model(OnlineRecommender(bundle, came=store.of_user, notices=store.tracks), "a/1"), 8, Metrics()
    )
    client = client_of_models(models, store)
    user = bundle.user_ids[0]
    last = bundle.last_played_at(user)
    assert last is not None
    at = datetime.fromtimestamp(last / 1e6, UTC) + timedelta(minutes=3)
    post(
        client, event(user, bundle.track_ids[9], 1, at.isoformat()), event(user, bundle.track_ids[8], 2, kind="dislike")
    )
    old = ask(client, user_id=user, k=20, at=FAR)
    exchange(models, Served("a/2", str(folders[1])), store, config)
    assert models.model.recommender.kept_users == [user]
    new = ask(client, user_id=user, k=20, at=FAR)
    assert (old["model_version"], new["model_version"]) == ("a/1", "a/2") and new["tracks"] != old["tracks"]
    fresh = started(bundle_of(folders[1]), store)
    assert ask(fresh, user_id=user, k=20, at=FAR)["tracks"] == new["tracks"]
    exchange(models, Served("a/1", str(folders[0])), store, config)
    assert ask(client, user_id=user, k=20, at=FAR) == old
    assert client.get("/healthz").json()["model_version"] == "a/1"


def bundle_of(folder: Path) -> Bundle:
    from fsvae.bundle import load_bundle

    return load_bundle(folder)


def test_ready_means_that_the_store_answers(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "model_version": "fsvae/7"}


def test_adding_a_track_changes_nothing_but_its_own_place(client: TestClient, bundle: Bundle) -> None:
    """Also for listeners to tracks without a vector, which are numbered between the others and those added."""
    users = [*bundle.user_ids[:20], "nobody"]
    without = bundle.track_ids[len(bundle.vectors) :]
    recent = without[:2]
    before = [ask(client, user_id=user, k=500, at=FAR, recent=recent)["tracks"] for user in users]
    client.put("/v1/tracks/unplaced", json={"title": "nothing is known of it"})
    for user, old in zip(users, before, strict=True):
        new = ask(client, user_id=user, k=500, at=FAR, recent=recent)["tracks"]
        scores = {track["track_id"]: track["score"] for track in new}
        assert scores.pop("unplaced", 0) == 0
        assert scores == pytest.approx({track["track_id"]: track["score"] for track in old}, abs=1e-5)


def test_what_is_told_of_an_added_track_later_places_it(client: TestClient, bundle: Bundle) -> None:
    artist = str(bundle.tracks["artist_id"][0])
    user = bundle.user_ids[0]
    client.put("/v1/tracks/x", json={"title": "X"})
    assert [track["score"] for track in ask(client, user_id=user, only=["x"], at=FAR)["tracks"]] == [0]
    client.put("/v1/tracks/x", json={"title": "X", "artist_id": artist})
    (placed,) = ask(client, user_id=user, only=["x"], at=FAR)["tracks"]
    assert placed["score"] > 0


def test_what_the_bundle_holds_already_is_not_counted_again(client: TestClient, bundle: Bundle) -> None:
    """An event of a day of the dataset is in the lake by then, from which the bundle was made."""
    user = bundle.user_ids[4]
    early = datetime.fromtimestamp(bundle.until / 1e6, UTC) - timedelta(seconds=1)
    before = ask(client, user_id=user, k=50, at=FAR)
    post(client, *(event(user, bundle.track_ids[n], n, early.isoformat(), kind="like") for n in range(9)))
    assert ask(client, user_id=user, k=50, at=FAR) == before


def test_a_user_who_comes_back_has_nothing_of_the_time_before(client: TestClient, bundle: Bundle) -> None:
    user, tracks = bundle.user_ids[5], bundle.track_ids
    at = datetime.fromtimestamp(bundle.until / 1e6, UTC) + timedelta(hours=5)
    then = (at + timedelta(days=1)).isoformat()
    post(client, event(user, tracks[0], 1, at.isoformat()))
    ask(client, user_id=user, at=then)
    client.delete(f"/v1/users/{user}")
    post(client, event(user, tracks[0], 2, at.isoformat()), event("new", tracks[0], 1, at.isoformat()))
    assert ask(client, user_id=user, k=50, at=then)["tracks"] == ask(client, user_id="new", k=50, at=then)["tracks"]
