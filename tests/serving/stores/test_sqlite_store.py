"""The store in an SQLite file, where another connection holds it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import Posted, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "events.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def listen(event_id: str) -> Posted:
    return Posted(event_id, "ann", "t", 5, 0.5)


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
    assert first.result(20) < there.result(20) < store.add([listen("later")]).result(20)
    assert len(store.of_user("ann", 0)) == 3


def test_a_store_that_is_held_by_another_says_so_to_all_who_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.stores.sqlite_store._TIMEOUT_S", 0.05)
    store = SqliteStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [store.add([listen(str(n))]) for n in range(3)]
        for one in waiting:
            with pytest.raises(StoreError, match="locked"):
                one.result(20)
        other.execute("ROLLBACK")
    assert store.add([listen("0")]).result(20) > [0]
    store.close()
