"""The store in Redis: a server that is away, restarts or is not durable; few round trips."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
import uuid
from collections.abc import Iterator

import pytest
import redis
from redis_server import RedisServer

from fsvae.errors import UserError
from fsvae.live_tracks import TrackNotice
from serving.stores import redis_store
from serving.stores.redis_store import RedisStore
from serving.stores.store import Accuracy, Posted, Served, StoreError

LOGGER = "fsvae.serving"


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def store(redis_server: RedisServer, prefix: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_server.url, prefix)
    yield store
    store.close()


def listen(event_id: str, played_at: int = 5) -> Posted:
    return Posted(event_id, "ann", "t", played_at, 0.5)


def test_what_waits_together_takes_few_round_trips_and_who_gives_up_stops_nobody_else(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held up by a server that is paused, while 100 requests come and one is cancelled."""
    sent = []
    execute = redis.client.Pipeline.execute

    def counted(self: redis.client.Pipeline, raise_on_error: bool = True) -> list[object]:
        sent.append(len(self))
        return execute(self, raise_on_error)

    monkeypatch.setattr(redis.client.Pipeline, "execute", counted)
    store = RedisStore(own_redis.url)
    own_redis.pause()
    first = store.add([listen("first")])  # the writer waits with it
    while not first.running():
        time.sleep(0.001)
    waiting = [store.add([listen(str(n))]) for n in range(100)]
    assert not first.cancel() and waiting[50].cancel()
    own_redis.go_on()
    numbers = [first.result(20), *(one.result(20) for one in waiting if not one.cancelled())]
    assert numbers == sorted(numbers) and len(store.of_user("ann", 0)) == 100
    assert sent == [1, 99]
    store.close()


def test_more_than_a_few_writes_are_sent_in_several_goes(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "_MOST_TOGETHER", 7)
    waiting = [store.add([listen(str(n), played_at=n)]) for n in range(50)]
    store.close()
    assert all(one.done() for one in waiting)
    assert [one.played_at for one in store.of_user("ann", 0)] == list(range(50))


def test_a_server_that_does_not_answer_fails_all_who_wait_and_is_asked_anew(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "_TIMEOUT_S", 0.5)
    store = RedisStore(own_redis.url)
    store.add([listen("before")]).result(20)
    own_redis.pause()
    waiting = [store.add([listen(str(n))]) for n in range(3)]
    for one in waiting:
        with pytest.raises(StoreError, match=r"127\.0\.0\.1.*[Tt]imeout"):
            one.result(20)
    with pytest.raises(StoreError, match=r"[Tt]imeout"):
        store.of_user("ann", 0)
    own_redis.go_on()
    # sent again, each is stored once, whether or not the server has read it before
    assert len(store.add([listen(str(n)) for n in range(3)]).result(20)) == 3
    assert len(store.of_user("ann", 0)) == 4
    store.close()


def test_what_was_acknowledged_outlives_the_kill_of_the_server_and_the_store_goes_on(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url)
    waiting = [store.add([listen(str(n), played_at=n)]) for n in range(50)]
    numbers = [number for one in waiting for number in one.result(20)]
    erased = store.erase("ben", 1).result(20)
    store.hide("t", True).result(20)
    store.put_track(TrackNotice("t", title="T")).result(20)
    store.serve("here", Served("1", "one")).result(20)
    store.add_accuracy(Accuracy("1", 2, 3, 1.0, 0.5, 0.25)).result(20)
    told = (store.since(0), store.tracks(0), store.served("here"), store.accuracy(0))
    own_redis.kill()
    with pytest.raises(StoreError, match="refused"):
        store.add([listen("away")]).result(20)
    for read in (
        lambda: store.of_user("ann", 0),
        lambda: store.since(0),
        lambda: store.tracks(0),
        lambda: store.served("here"),
    ):
        with pytest.raises(StoreError, match="refused"):
            read()
    own_redis.start()
    assert (store.since(0), store.tracks(0), store.served("here"), store.accuracy(0)) == told
    assert [one.sequence for one in store.of_user("ann", 0)] == numbers
    [known], [new] = store.add([listen("0")]).result(20), store.add([listen("new")]).result(20)
    assert known == 0 and new > erased
    store.hide("t", False).result(20)
    assert store.tracks(told[1][-1].changed)[0].title == "T"
    store.close()


def test_a_store_that_was_idle_while_the_server_restarted_goes_on_at_once(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url)
    [first] = store.add([listen("a")]).result(20)
    own_redis.kill()
    own_redis.start()
    [second] = store.add([listen("b")]).result(20)
    assert [one.sequence for one in store.of_user("ann", 0)] == [first, second]
    store.close()


def test_scripts_that_the_server_forgot_are_told_again(store: RedisStore, redis_server: RedisServer) -> None:
    store.add([listen("a")]).result(20)
    redis_server.client().script_flush()
    assert len(store.of_user("ann", 0)) == 1
    redis_server.client().script_flush()
    assert store.add([listen("b")]).result(20) > [0]


def test_stores_with_other_prefixes_are_others_and_keep_to_theirs(store: RedisStore, redis_server: RedisServer) -> None:
    other = RedisStore(redis_server.url, uuid.uuid4().hex)
    store.add([listen("a")]).result(20)
    assert other.since(0) == [] and other.add([listen("a")]).result(20) == [1]
    other.close()


def test_what_keys_of_another_make_impossible_is_said(
    store: RedisStore, prefix: str, redis_server: RedisServer
) -> None:
    redis_server.client().set(f"{prefix}:user:ben", "a text")
    failing, well = store.add([listen("a")._replace(user_id="ben")]), store.add([listen("a")])
    with pytest.raises(StoreError, match="WRONGTYPE"):
        failing.result(20)
    assert well.result(20) == [store.of_user("ann", 0)[0].sequence]


def test_nobody_at_the_url_is_said_without_the_password(own_redis: RedisServer) -> None:
    own_redis.kill()
    url = own_redis.url.replace("//", "//ann:se%40cret@")
    with pytest.raises(UserError, match=rf"redis://127\.0\.0\.1:{own_redis.port}/0.*redis-cli") as raised:
        RedisStore(url)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://ann:secret@host", "redis://:se/cret@host:1/0", "redis://host?secret=1"])
def test_a_url_that_cannot_be_read_is_said_without_it(url: str) -> None:
    with pytest.raises(UserError, match=r"redis://.*% codes") as raised:
        RedisStore(url)
    assert "cret" not in str(raised.value)


def test_a_wrong_password_is_said(redis_server: RedisServer) -> None:
    with pytest.raises(UserError, match="does not answer"):
        RedisStore(redis_server.url.replace("//", "//nobody:secret@"))


def test_a_server_that_may_lose_what_it_acknowledges_is_warned_of_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, LOGGER):
            RedisStore(own_redis.url).close()
        return caplog.messages

    assert warnings() == []
    client = own_redis.client()
    client.config_set("appendfsync", "everysec")
    [warning] = warnings()
    assert "appendfsync everysec" in warning and "`appendfsync always`" in warning and "appendonly" not in warning
    client.config_set("appendonly", "no")
    [warning] = warnings()
    assert "appendonly no" in warning and "`appendonly yes` and `appendfsync always`" in warning


def test_a_server_that_forbids_the_question_is_not_warned_of(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = own_redis.client()
    client.config_set("appendonly", "no")
    client.acl_setuser(
        "app", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=["-config"]
    )
    with caplog.at_level(logging.WARNING, LOGGER):
        store = RedisStore(own_redis.url.replace("//", "//app:secret@"))
    assert caplog.messages == []
    assert store.add([listen("a")]).result(20) == [1]
    store.close()


def test_without_the_package_redis_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    spec = importlib.util.spec_from_file_location("redis_store_without_redis", redis_store.__file__)
    assert spec is not None and spec.loader is not None
    with pytest.raises(UserError, match=r"pip install 'fsvae\[redis\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
