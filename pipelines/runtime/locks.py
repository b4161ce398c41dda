"""One writer at a time: a lock that says who holds it and for how long.

On this machine's disks the operating system keeps the lock, so that a killed holder leaves it free. Object stores know
no locks: there the holder leaves a note, and a note that is older than a day, or of a process of this machine that is
gone, is taken over.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fsvae.errors import UserError
from fsvae.storage import Folder

_STALE_S = 24 * 3600.0


@contextmanager
def held(where: Folder | Path, what: str) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, for `what` (``ingest``) while the context is open.

    Raises:
        UserError: another process holds it; the message says which and since when.
    """
    folder = Folder.at(where)
    local = folder.local
    if local is None:
        with _noted(folder, what):
            yield
        return
    local.mkdir(parents=True, exist_ok=True)
    lock = FileLock(local / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(_busy(folder, what, _note_of(folder))) from error
    with lock:
        folder.write_json(".lock.json", _note())
        yield


@contextmanager
def _noted(folder: Folder, what: str) -> Iterator[None]:
    other = _note_of(folder)
    if other is not None and not _is_stale(other):
        raise UserError(
            _busy(folder, what, other) + f" If that process is gone for sure, delete {folder}/.lock.json and run again."
        )
    mine = _note()
    folder.write_json(".lock.json", mine)
    # Two may have found the place free. The later note is what both now read: the other one gives way.
    time.sleep(_SETTLE_S)
    if (now := _note_of(folder)) != mine:
        raise UserError(_busy(folder, what, now))
    try:
        yield
    finally:
        folder.delete(".lock.json")


_SETTLE_S = 1.0
"""How long a note must stand on an object store before its writer goes on [s]."""


def _note() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "id": uuid.uuid4().hex}


def _note_of(folder: Folder) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = folder.read_json(".lock.json")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return note


def _is_stale(note: dict[str, Any]) -> bool:
    if time.time() - note["since"] > _STALE_S:
        return True
    if note["host"] != socket.gethostname():
        return False
    try:
        os.kill(note["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _busy(folder: Folder, what: str, note: dict[str, Any] | None) -> str:
    if note is None:
        return f"{folder}: another {what} is at work here; wait for it to end."
    minutes = (time.time() - note["since"]) / 60
    return (
        f"{folder}: another {what} is at work here, process {note['pid']} on {note['host']}, for {minutes:.0f} min; "
        "wait for it to end."
    )
