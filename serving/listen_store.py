"""The store of posted listens, the truth of what users have heard since the model was trained.

A listen is durable before its future is done. Listens that are posted side by side are committed together: one write to
disk for all that wait.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

from fsvae.live_users import LiveListen

_TIMEOUT_S = 5.0
"""How long a write waits for that of another process."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS listens (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    track_id TEXT NOT NULL,
    played_at INTEGER NOT NULL,
    played_fraction REAL NOT NULL,
    UNIQUE (user_id, event_id)
) STRICT;
CREATE INDEX IF NOT EXISTS of_user ON listens (user_id, sequence);
"""


class StoreError(Exception):
    """The store does not answer: another process holds it, or the disk is full. What was asked may be asked again."""


class Posted(NamedTuple):
    """A listen as it was posted."""

    event_id: str
    """Id of the event, given by who posts it: the same one of a user is stored once."""
    user_id: str
    track_id: str
    played_at: int
    """Time of the listen [us since 1970 UTC]."""
    played_fraction: float


class ListenStore(Protocol):
    """A store of posted listens, shared by all replicas."""

    def add(self, listens: Sequence[Posted]) -> Future[list[bool]]:
        """Store listens, all or none; the future is done when they are durable, and says which of them are new.

        Its error is a StoreError where the store does not answer.
        """
        ...

    def of_user(self, user_id: str, after: int) -> list[LiveListen]:
        """Return a user's listens with a sequence number above `after`, in the order in which they were stored.

        Raises:
            StoreError: the store does not answer.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; what was added stays."""
        ...


class SqliteStore:
    """A store in one SQLite file, which the processes of one machine share (write-ahead log)."""

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
        self._waiting: queue.SimpleQueue[tuple[Sequence[Posted], Future[list[bool]]] | None] = queue.SimpleQueue()
        connection = self._connected()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        self._closed = False
        self._writer = threading.Thread(target=self._write, args=(connection,), daemon=True, name="listens")
        self._writer.start()

    def add(self, listens: Sequence[Posted]) -> Future[list[bool]]:
        """Store listens, all or none; the future is done when they are durable, and says which of them are new."""
        if self._closed:
            raise StoreError(f"{self._path} is closed")
        done: Future[list[bool]] = Future()
        self._waiting.put((listens, done))
        return done

    def of_user(self, user_id: str, after: int) -> list[LiveListen]:
        """Return a user's listens with a sequence number above `after`, in the order in which they were stored."""
        try:
            rows: Iterable[tuple[int, str, int, float]] = self._reader.execute(
                "SELECT sequence, track_id, played_at, played_fraction FROM listens "
                "WHERE user_id = ? AND sequence > ? ORDER BY sequence",
                (user_id, after),
            )
            return [LiveListen(*row) for row in rows]
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Let go of files and connections; what was added stays."""
        self._closed = True
        self._waiting.put(None)
        self._writer.join()
        with self._opening:
            while self._open:
                self._open.pop().close()

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

    def _write(self, connection: sqlite3.Connection) -> None:
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


def _commit(connection: sqlite3.Connection, together: Sequence[tuple[Sequence[Posted], Future[list[bool]]]]) -> None:
    """Store what some requests posted, and tell each of them; what is wrong with one does not fail the others."""
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            new = [[_inserted(connection, listen) for listen in listens] for listens, _ in together]
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
        for (_, done), which in zip(together, new, strict=True):
            done.set_result(which)


def _inserted(connection: sqlite3.Connection, listen: Posted) -> bool:
    """Return whether a listen was not there yet."""
    into = "INSERT INTO listens (event_id, user_id, track_id, played_at, played_fraction) VALUES (?, ?, ?, ?, ?)"
    return connection.execute(f"{into} ON CONFLICT (user_id, event_id) DO NOTHING", listen).rowcount == 1
