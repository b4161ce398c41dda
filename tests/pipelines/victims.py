"""Processes for tests to kill: forked from a server that has imported everything, so that one costs little.

They count the files that they put in place, so that they can be killed right before the n-th, too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, NamedTuple

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "gensim.models", "pandas", "pyarrow.dataset", "pipelines.ingest.ingest", "pipelines.prepare.prepare"]
)

Job = Callable[[], object]
"""Something that can be sent to another process."""


class Undisturbed(NamedTuple):
    """What a job comes to that nobody kills."""

    seconds: float
    """Not counting the start of its process."""
    files: int
    """How many it put in place."""


def undisturbed(job: Job) -> Undisturbed:
    """Run a job to its end."""
    child, pipe = _started(job, 0)
    began = time.perf_counter()
    files = pipe.recv()
    seconds = time.perf_counter() - began
    child.join()
    return Undisturbed(seconds, files)


def killed_after(job: Job, seconds: float) -> bool:
    """Run a job and kill it some time after it began; return whether it was still at work."""
    child, pipe = _started(job, 0)
    pipe.poll(seconds)
    child.kill()
    return _was_killed(child)


def killed_before_file(job: Job, number: int) -> bool:
    """Run a job that is killed when it is about to put its n-th file in place; return whether it came to that."""
    child, pipe = _started(job, number)
    pipe.poll(None)
    return _was_killed(child)


def _started(job: Job, last_file: int) -> tuple[ForkServerProcess, Connection]:
    """Return a process that has just begun, and where it tells how many files it has put in place when it is done."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=_run, args=(job, last_file, theirs))
    child.start()
    theirs.close()
    assert ours.recv() == 0
    return child, ours


def _was_killed(child: ForkServerProcess) -> bool:
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL), "the job failed of itself"
    return child.exitcode == -signal.SIGKILL


def _run(job: Job, last_file: int, pipe: Connection) -> None:
    files = 0

    def about_to(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal files
        if event == "os.rename":  # of os.replace, too
            files += 1
            if files == last_file:
                os.kill(os.getpid(), signal.SIGKILL)

    pipe.send(0)
    sys.addaudithook(about_to)
    job()
    pipe.send(files)
