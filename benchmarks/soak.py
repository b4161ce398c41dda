"""Memory and latencies of the endpoint under a steady load, minute by minute.

    python -m benchmarks.soak WORKDIR --minutes 30 --rate 40

The load is three requests for next tracks to one posted listen, of users and tracks at random.
"""

from __future__ import annotations

import argparse
import platform
import random
import threading
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.serving import FSVAE, HOST, process
from fsvae.bundle import load_bundle
from pipelines.config.compose import load_config
from pipelines.tracking import git_commit
from pipelines.workspace import Workspace
from serving.ports import free_port

_CLIENTS = 4


def main() -> None:
    """Serve, ask and post for some minutes, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", help="working folder with a champion")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second")
    parser.add_argument(
        "--users", type=int, help="how many take part; all by default, whose states fill the memory first"
    )
    arguments = parser.parse_args()
    workspace, port = Workspace(load_config([f"workdir={arguments.workdir}"])), free_port(HOST)
    bundle = load_bundle(workspace.tracker.bundle(workspace.tracker.resolve(None)))
    users, tracks = bundle.user_ids[: arguments.users], bundle.track_ids
    del bundle
    url = f"http://127.0.0.1:{port}"
    command = [*FSVAE, "serve", f"workdir={workspace.root}", f"serve.port={port}"]
    console = Console(width=120)
    table = Table(
        title=f"{arguments.rate:g} requests a second, three for next tracks to one listen", title_justify="left"
    )
    for heading in ("minute", "requests", "failed", "p50, ms", "p99, ms", "replica, MiB", "all of Ray, MiB"):
        table.add_column(heading, justify="right")
    with process(command, f"{url}/v1/next-tracks") as child:
        load = _Load(url, users, tracks, arguments.rate)
        for minute in range(1, arguments.minutes + 1):
            time.sleep(60)
            latencies, failed = load.taken()
            milliseconds = np.percentile(np.array(latencies) * 1e3, [50, 99])
            replica, whole = _memory_mib(child.pid)
            figures = (*(f"{value:.1f}" for value in milliseconds), f"{replica:,.0f}", f"{whole:,.0f}")
            table.add_row(str(minute), f"{len(latencies):,}", str(failed), *figures)
            console.print(minute, len(latencies), failed, *figures)
        load.end()
    console.print(table)
    console.print(
        f"python -m benchmarks.soak · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · {platform.machine()}"
    )


class _Load:
    """Clients that ask and post at a steady rate."""

    def __init__(self, url: str, users: list[str], tracks: list[str], rate: float) -> None:
        self._url, self._users, self._tracks = url, users, tracks
        self._every_s = _CLIENTS / rate
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._failed = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def taken(self) -> tuple[list[float], int]:
        """Return the latencies [s] and the number of failed requests since the last call."""
        with self._lock:
            found = self._latencies, self._failed
            self._latencies, self._failed = [], 0
        return found

    def end(self) -> None:
        """End the clients."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        draw, sent, begin = random.Random(number), 0, time.time_ns()
        with httpx.Client(base_url=self._url, timeout=10) as client:
            due = time.monotonic()
            while not self._ended.is_set():
                due += self._every_s
                time.sleep(max(0.0, due - time.monotonic()))
                sent += 1
                user = draw.choice(self._users)
                if sent % 4:
                    path, body = "next-tracks", {"user_id": user, "k": 10}
                else:
                    event = {
                        "event_id": f"{begin}-{number}-{sent}",
                        "user_id": user,
                        "track_id": draw.choice(self._tracks),
                    }
                    path, body = "listens", {"listens": [event]}
                began = time.perf_counter()
                try:
                    failed = client.post(f"/v1/{path}", json=body).status_code != 200
                except httpx.HTTPError:
                    failed = True
                with self._lock:
                    self._latencies.append(time.perf_counter() - began)
                    self._failed += failed


def _memory_mib(pid: int) -> tuple[float, float]:
    """Return the memory of the replica and of all processes of the endpoint [MiB]."""
    replica = whole = 0.0
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            mib = one.memory_info().rss / 2**20
            whole += mib
            if "ServeReplica" in " ".join(one.cmdline()):
                replica += mib
        except psutil.NoSuchProcess:
            continue
    return replica, whole


if __name__ == "__main__":
    main()
