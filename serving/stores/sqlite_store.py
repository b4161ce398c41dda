"""A store in one SQLite file, which the processes of one machine share.

Writes that are asked for side by side are committed together: one write to disk for all that wait.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from fsvae.live_tracks import TrackNotice
from fsvae.live_users import ERASED, LiveEvent
from serving.stores.store import PAGE, Accuracy, Posted, Served, Stored, StoreError

T = TypeVar("T")

_TIMEOUT_S = 5.0
"""How long a write waits for that of another process."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    played_at INTEGER NOT NULL,
    played_fraction REAL NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (user_id, event_id)
) STRICT;
CREATE INDEX IF NOT EXISTS of_user ON events (user_id, sequence);
CREATE TABLE IF NOT EXISTS tracks (
    track_id TEXT PRIMARY KEY,
    changed INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL DEFAULT 0,
    title TEXT, artist_id TEXT, artist_name TEXT, album TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS by_change ON tracks (changed);
CREATE TABLE IF NOT EXISTS models (endpoint TEXT PRIMARY KEY, version TEXT NOT NULL, bundle TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS accuracy (
    version TEXT NOT NULL,
    minute INTEGER NOT NULL,
    listens INTEGER NOT NULL,
    recall REAL NOT NULL,
    reciprocal_rank REAL NOT NULL,
    ndcg REAL NOT NULL,
    PRIMARY KEY (version, minute)
) STRICT;
"""
_EVENT = "sequence, track_id, played_at, played_fraction, kind"
_CHANGE = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM tracks)"
_ERASURE = ""
"""Event id of an erasure, which no posted event has."""


class SqliteStore:
    """A store in one SQLite file (`serving.stores.store.Store`, with a write-ahead log)."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is missing, and start the thread that writes.

        Raises:
            sqlite3.Error: the file cannot be made, or is none of this kind.
            OSError: its folder cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None]
        self._waiting = queue.SimpleQueue()
        connection = self._connected()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, args=(connection,), daemon=True, name="store")
        self._writer.start()

    def add(self, events: Sequence[Posted]) -> Future[list[int]]:
        """Store events, all or none."""
        return self._write(lambda connection: [_inserted(connection, event) for event in events])

    def of_user(self, user_id: str, after: int) -> list[LiveEvent]:
        """Return a user's events with a sequence number above `after`, in the order in which they were stored."""
        sql = f"SELECT {_EVENT} FROM events WHERE user_id = ? AND sequence > ? ORDER BY sequence"
        return [LiveEvent(*row) for row in self._read(sql, user_id, after)]

    def since(self, after: int) -> list[Stored]:
        """Return the first PAGE events of all users with a sequence number above `after`, in order of it."""
        sql = f"SELECT user_id, {_EVENT} FROM events WHERE sequence > ? ORDER BY sequence LIMIT {PAGE}"
        return [Stored(user_id, LiveEvent(*event)) for user_id, *event in self._read(sql, after)]

    def erase(self, user_id: str, until: int) -> Future[int]:
        """Delete all events of a user and leave one of the kind ERASED, at a time [us]."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("DELETE FROM events WHERE user_id = ?", (user_id,))
            return _inserted(connection, Posted(_ERASURE, user_id, "", until, 0.0, ERASED))

        return self._write(work)

    def put_track(self, notice: TrackNotice) -> Future[None]:
        """Add a track, or change its metadata."""
        fields = ["title", "artist_id", "artist_name", "album"]
        told = ", ".join(f"{name} = excluded.{name}" for name in fields)
        sql = (
            f"INSERT INTO tracks (track_id, changed, added, {', '.join(fields)}) VALUES (?, {_CHANGE}, 1, ?, ?, ?, ?) "
            f"ON CONFLICT (track_id) DO UPDATE SET changed = {_CHANGE}, added = 1, {told}"
        )
        return self._execute(sql, notice.track_id, *(getattr(notice, name) for name in fields))

    def hide(self, track_id: str, hidden: bool) -> Future[None]:
        """Hide a track from everybody, or show it again."""
        sql = (
            f"INSERT INTO tracks (track_id, changed, hidden) VALUES (?, {_CHANGE}, ?) "
            f"ON CONFLICT (track_id) DO UPDATE SET changed = {_CHANGE}, hidden = excluded.hidden"
        )
        return self._execute(sql, track_id, int(hidden))

    def tracks(self, after: int) -> list[TrackNotice]:
        """Return the tracks whose latest change has a number above `after`, in order of it."""
        sql = f"SELECT {', '.join(TrackNotice._fields)} FROM tracks WHERE changed > ? ORDER BY changed"
        return [
            TrackNotice(track_id, changed, bool(hidden), bool(added), *metadata)
            for track_id, changed, hidden, added, *metadata in self._read(sql, after)
        ]

    def serve(self, endpoint: str, served: Served) -> Future[None]:
        """Say which model an endpoint is to serve."""
        return self._execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", endpoint, *served)

    def served(self, endpoint: str) -> Served | None:
        """Return which model an endpoint is to serve; None: nobody has said yet."""
        found = self._read("SELECT version, bundle FROM models WHERE endpoint = ?", endpoint)
        return Served(*found[0]) if found else None

    def add_accuracy(self, accuracy: Accuracy) -> Future[None]:
        """Add to the sums of a version and minute."""
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in Accuracy._fields[2:])
        sql = f"INSERT INTO accuracy VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (version, minute) DO UPDATE SET {sums}"
        return self._execute(sql, *accuracy)

    def accuracy(self, since_minute: int) -> list[Accuracy]:
        """Return the sums of all minutes from one on, in order of version and minute."""
        sql = "SELECT * FROM accuracy WHERE minute >= ? ORDER BY version, minute"
        return [Accuracy(*row) for row in self._read(sql, since_minute)]

    def close(self) -> None:
        """Let go of files and connections; what was added stays."""
        with self._opening:  # what is asked for until now is written
            self._closed = True
            self._waiting.put(None)
        self._writer.join()
        with self._opening:
            while self._open:
                self._open.pop().close()

    def _read(self, sql: str, *values: Any) -> list[Any]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    @property
    def _reader(self) -> sqlite3.Connection:
        """Return the connection of the present thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connected()
            with self._opening:
                self._open.append(connection)
        return connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=FULL")  # in a write-ahead log: one fsync for a commit
        return connection

    def _execute(self, sql: str, *values: Any) -> Future[None]:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(sql, values)

        return self._write(work)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        done: Future[T] = Future()
        with self._opening:
            if self._closed:
                raise StoreError(f"{self._path} is closed")
            self._waiting.put((work, done))
        return done

    def _write_all(self, connection: sqlite3.Connection) -> None:
        """Commit what waits, all of it together, until the store is closed."""
        with closing(connection):
            while (first := self._waiting.get()) is not None:
                together = [first]
                while not self._waiting.empty():
                    if (another := self._waiting.get()) is None:
                        self._waiting.put(None)  # for the loop above
                        break
                    together.append(another)
                # from here on a future cannot be cancelled, as by a client who goes: what it says would be lost
                _commit(connection, [one for one in together if one[1].set_running_or_notify_cancel()])


def _commit(
    connection: sqlite3.Connection, together: Sequence[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]
) -> None:
    """Do what some requests ask for, and tell each of them; what is wrong with one does not fail the others."""
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            results = [work(connection) for work, _ in together]
    except sqlite3.OperationalError as error:  # the next request would wait as long
        for _, done in together:
            done.set_exception(StoreError(str(error)))
    except Exception as error:
        if len(together) > 1:
            for one in together:
                _commit(connection, [one])
        else:
            together[0][1].set_exception(error)
    else:
        for (_, done), result in zip(together, results, strict=True):
            done.set_result(result)


def _inserted(connection: sqlite3.Connection, event: Posted) -> int:
    """Return the sequence number of an event, 0 if it was there already."""
    into = f"INSERT INTO events ({', '.join(Posted._fields)}) VALUES (?, ?, ?, ?, ?, ?)"
    done = connection.execute(f"{into} ON CONFLICT DO NOTHING", event)
    return int(done.lastrowid or 0) if done.rowcount == 1 else 0
