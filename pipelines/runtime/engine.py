"""Engines that run the pieces of a job: processes of this machine, or a Ray cluster. The functions are the same.

A piece is a pure function of a task: it reads files, writes files whose content depends on the task alone, and returns
a small result. So a piece that is lost with its worker can be run again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Protocol, TypeVar

from fsvae.errors import UserError
from fsvae.limits import check
from fsvae.progress import Done
from pipelines.runtime.engine_config import EngineConfig

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """A runner of a function on many tasks; a context that releases its processes when it ends."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...

    def as_they_come(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield the place of a task and its result, in the order in which they are done."""
        ...

    def map(self, function: Callable[[T], R], tasks: Sequence[T], done: Done) -> list[R]:
        """Return the results in the order of the tasks."""
        ...


class LocalEngine:
    """An engine of processes of this machine, started when they are first needed; a single worker is this process."""

    def __init__(self, workers: int) -> None:
        """Take the number of processes, 0 for one for each core."""
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[T], R], tasks: Sequence[T], done: Done) -> list[R]:
        """Return the results in the order of the tasks.

        Raises:
            UserError: a process died.
        """
        return _in_order(self.as_they_come(function, tasks), len(tasks), done)

    def as_they_come(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield the place of a task and its result, in the order in which they are done.

        Raises:
            UserError: a process died.
        """
        if min(self._workers, len(tasks)) <= 1:
            yield from ((place, function(task)) for place, task in enumerate(tasks))
            return
        if self._pool is None:
            # Spawned, as a fork of a process with threads can hang.
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_end_with_parent
            )
        try:
            with _one_thread():  # one thread in each, as there is a process for each core; read when they start
                places = {self._pool.submit(function, task): place for place, task in enumerate(tasks)}
            for future in as_completed(places):
                yield places[future], future.result()
        except BrokenProcessPool as error:
            self._pool = None
            raise UserError(
                "engine: a worker process was killed, perhaps for want of memory. Run this again; "
                "engine.workers=1 needs least memory."
            ) from error


class RayEngine:
    """An engine on a Ray cluster, which runs the tasks of a lost worker again."""

    _RETRIES = 5

    def __init__(self, address: str) -> None:
        """Take the address; the connection is made with the first job."""
        self._address = address
        self._started = False

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        if self._started:
            ray.shutdown()

    def map(self, function: Callable[[T], R], tasks: Sequence[T], done: Done) -> list[R]:
        """Return the results in the order of the tasks.

        Raises:
            UserError: no cluster answers at the address.
        """
        return _in_order(self.as_they_come(function, tasks), len(tasks), done)

    def as_they_come(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield the place of a task and its result, in the order in which they are done.

        Raises:
            UserError: no cluster answers at the address.
        """
        import ray

        if not ray.is_initialized():
            address = self._address or os.environ.get("RAY_ADDRESS") or "local"
            cores = os.cpu_count() if address == "local" else None
            try:
                ray.init(address=address, num_cpus=cores, include_dashboard=False, log_to_driver=False)
                self._started = True
            except ConnectionError as error:
                raise UserError(f"engine.address: no Ray cluster answers at '{address}': {error}") from error
        piece = ray.remote(function).options(num_cpus=1, max_retries=self._RETRIES)
        places = {piece.remote(task): place for place, task in enumerate(tasks)}
        waiting = list(places)
        while waiting:
            (reference,), waiting = ray.wait(waiting, num_returns=1)
            yield places[reference], ray.get(reference)


ENGINES: dict[str, Callable[[EngineConfig], Engine]] = {
    "local": lambda config: LocalEngine(config.workers),
    "ray": lambda config: RayEngine(config.address),
}


def engine_of(config: EngineConfig) -> Engine:
    """Return the engine that the config names.

    Raises:
        UserError: there is no such engine.
    """
    check(config, "engine.")
    return ENGINES[config.name](config)


def _in_order(results: Iterator[tuple[int, R]], tasks: int, done: Done) -> list[R]:
    found: dict[int, R] = {}
    for place, result in results:
        found[place] = result
        done(len(found), tasks)
    return [found[place] for place in range(tasks)]


def _end_with_parent() -> None:
    """Make a worker end with the process that started it, however that ends.

    Ctrl-C, which a terminal sends to all processes, ends a worker without its own traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker was started by a process"
    parent.join()
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
