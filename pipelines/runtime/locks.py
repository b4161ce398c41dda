"""Locks for one writer at a time and against deletion while reading; a killed process releases them.

On this machine's disks the operating system keeps the locks. Object stores have none: there the holder writes a note,
which is ignored when it is too old, or of a process of this machine that has ended.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, ReadWriteLock, Timeout

from fsvae.errors import UserError
from fsvae.storage import Folder

_STALE_S = 24 * 3600.0
"""Age from which a note of a writer is ignored [s]."""
_STALE_USE_S = 7 * 24 * 3600.0
"""Age from which a note of a reader is ignored [s]: a matrix may run for days, and late deletion costs only space."""


@contextmanager
def held(where: Folder | Path, what: str) -> Iterator[None]:
    """Hold a folder, made if it is missing, for `what` (``ingest``) while the context is open.

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


def is_held(where: Folder | Path) -> bool:
    """Return whether a process holds a folder (`held`)."""
    try:
        with held(where, ""):
            return False
    except UserError:
        return True


@contextmanager
def in_use(where: Folder) -> Iterator[None]:
    """Keep others, which ask `unused` first, from deleting a folder while the context is open. Any number may do so.

    A folder that is gone, or that this process may not write to, raises no error: check its contents when the context
    is open.
    """
    with ExitStack() as stack:
        if where.local is None:
            name = f"{_USES}/{uuid.uuid4().hex}.json"
            where.write_json(name, _note())
            stack.callback(where.delete, name)
        else:
            with suppress(OSError):
                stack.enter_context(_uses(where.local).read_lock())
        yield


@contextmanager
def unused(where: Folder) -> Iterator[bool]:
    """Yield whether no process uses a folder (`in_use`), so that it may be deleted.

    On this machine's disks none can begin to use it before the context ends; on an object store one can, within the
    short time that this takes.
    """
    with ExitStack() as stack:
        if where.local is None:
            notes = [_note_of(where, name) for name in where.files() if name.startswith(f"{_USES}/")]
            free = all(note is None or _is_stale(note, _STALE_USE_S) for note in notes)
        else:
            try:
                stack.enter_context(_uses(where.local).write_lock(blocking=False))
                free = True
            except Timeout:
                free = False
        yield free


_USES = ".uses"
"""Name of the folder with the notes of the users of a folder in an object store."""


def _uses(folder: Path) -> ReadWriteLock:
    return ReadWriteLock(folder / ".used.lock", is_singleton=False)


@contextmanager
def _noted(folder: Folder, what: str) -> Iterator[None]:
    other = _note_of(folder)
    if other is not None and not _is_stale(other, _STALE_S):
        raise UserError(
            _busy(folder, what, other) + f" If that process is gone for sure, delete {folder}/.lock.json and run again."
        )
    mine = _note()
    folder.write_json(".lock.json", mine)
    # Two may have found the folder free. Both now read the later note, and the other one gives way.
    time.sleep(_SETTLE_S)
    if (now := _note_of(folder)) != mine:
        raise UserError(_busy(folder, what, now))
    try:
        yield
    finally:
        folder.delete(".lock.json")


_SETTLE_S = 1.0
"""Time that a note must persist on an object store before its writer continues [s]."""


def _note() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "id": uuid.uuid4().hex}


def _note_of(folder: Folder, name: str = ".lock.json") -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = folder.read_json(name)
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return note


def _is_stale(note: dict[str, Any], age_s: float) -> bool:
    if time.time() - note["since"] > age_s:
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
