"""The store of posted listens: once each, in order, on disk before they are acknowledged."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fsvae.live_users import LiveListen
from serving.listen_store import Posted, SqliteStore, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "listens.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def listen(event_id: str, user_id: str = "ann", track_id: str = "t", played_at: int = 5) -> Posted:
    return Posted(event_id, user_id, track_id, played_at, 0.5)


def test_an_event_is_stored_once_however_often_it_is_sent(store: SqliteStore) -> None:
    assert store.add([listen("a"), listen("b"), listen("a", track_id="other")]).result() == [True, True, False]
    assert store.add([listen("b"), listen("c")]).result() == [False, True]
    assert [one.track_id for one in store.of_user("ann", 0)] == ["t", "t", "t"]
    assert store.add([listen("a", user_id="ben")]).result() == [True]  # ids are each user's own


def test_a_users_listens_come_in_the_order_in_which_they_were_stored(store: SqliteStore) -> None:
    store.add([listen("a", played_at=9), listen("b", user_id="ben"), listen("c", played_at=3)]).result()
    first, second = store.of_user("ann", 0)
    assert (first, second) == (LiveListen(first.sequence, "t", 9, 0.5), LiveListen(second.sequence, "t", 3, 0.5))
    assert first.sequence < second.sequence
    assert store.of_user("ann", first.sequence) == [second] and store.of_user("ann", second.sequence) == []


def test_another_process_sees_what_was_stored_and_so_does_a_later_one(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    store.add([listen("a")]).result()
    assert len(other.of_user("ann", 0)) == 1
    assert other.add([listen("a"), listen("b")]).result() == [False, True]
    other.close()
    assert len(store.of_user("ann", 0)) == 2
    store.close()
    again = SqliteStore(path)
    assert len(again.of_user("ann", 0)) == 2
    again.close()


def test_listens_that_wait_together_are_each_stored_or_refused_alone(store: SqliteStore) -> None:
    """A fraction that is no number cannot be stored; those beside it can, but for the ones sent with it."""
    broken = listen("x")._replace(played_fraction=float("nan"))
    waiting = [store.add([listen(str(n))]) for n in range(50)]
    failing = store.add([listen("y"), broken])
    waiting += [store.add([listen(str(n))]) for n in range(50, 100)]
    assert [one.result() for one in waiting] == [[True]] * 100
    with pytest.raises(Exception, match="NOT NULL"):
        failing.result()
    assert len(store.of_user("ann", 0)) == 100


def test_what_was_acknowledged_outlives_the_kill_of_the_process(path: Path) -> None:
    code = f"""
from pathlib import Path
from serving.listen_store import Posted, SqliteStore
store = SqliteStore(Path({str(path)!r}))
for n in range(1_000_000):
    store.add([Posted(str(n), "ann", "t", n, 1.0)]).result()
    print(n, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(line) for line, _ in zip(child.stdout, range(100), strict=False)][-1]
    child.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
    child.wait()
    store = SqliteStore(path)
    assert [one.played_at for one in store.of_user("ann", 0)][: acknowledged + 1] == list(range(acknowledged + 1))
    store.close()


def test_who_gives_up_waiting_stops_nobody_else(store: SqliteStore, path: Path) -> None:
    """The writer is held up by another connection while one of two requests that wait is cancelled."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = store.add([listen("first")])  # the writer waits with it
        while not first.running():
            time.sleep(0.001)
        gone, there = store.add([listen("gone")]), store.add([listen("there")])
        assert not first.cancel() and gone.cancel()
        other.execute("ROLLBACK")
    assert first.result(20) == there.result(20) == [True]
    assert store.add([listen("later")]).result(20) == [True]
    assert len(store.of_user("ann", 0)) == 3


def test_a_store_that_is_held_by_another_says_so_to_all_who_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.listen_store._TIMEOUT_S", 0.05)
    store = SqliteStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [store.add([listen(str(n))]) for n in range(3)]
        for one in waiting:
            with pytest.raises(StoreError, match="locked"):
                one.result(20)
        other.execute("ROLLBACK")
    assert store.add([listen("0")]).result(20) == [True]
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.add([listen("1")])
