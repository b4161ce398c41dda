"""Requests a second and latencies of the endpoint, beside an endpoint that does nothing, in one run.

Run it with `make bench-serve`; the client is wrk (Debian's package). A simulated log has 100,000 users on two days, its
model is trained for one epoch, and all users are in the bundle's store of states. Requests name users at random; posted
listens are of users and tracks at random, each with an id of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from fsvae.bundle import load_bundle
from pipelines.config.compose import load_config
from pipelines.tracking import git_commit
from pipelines.workspace import Workspace
from serving.ports import free_port

FSVAE = (str(Path(sys.executable).parent / "fsvae"),)
HOST = "127.0.0.1"
CONNECTIONS = (1, 8, 32, 128)
HEADINGS = ("requests", "connections", "per second", "no-op", "share", "p50, ms", "p90", "p99", "no-op p99", "failed")
STARTED_WITHIN_S = 300
_SCRIPT = """
local users = {}
for line in io.lines("@USERS@") do users[#users + 1] = line end
local tracks = {}
for line in io.lines("@TRACKS@") do tracks[#tracks + 1] = line end
local headers = {["Content-Type"] = "application/json"}
local thread_number = 0
function setup(thread) thread:set("number", thread_number); thread_number = thread_number + 1 end
function init(args) math.randomseed(@SEED@ + number); sent = 0 end
local function next_tracks()
    local body = '{"user_id": "' .. users[math.random(#users)] .. '", "k": 10}'
    return wrk.format("POST", "/v1/next-tracks", headers, body)
end
local function listens()
    local body = string.format(
        '{"listens": [{"event_id": "@SEED@-%d-%d", "user_id": "%s", "track_id": "%s"}]}',
        number, sent, users[math.random(#users)], tracks[math.random(#tracks)])
    return wrk.format("POST", "/v1/listens", headers, body)
end
function request()
    sent = sent + 1
    if "@WHAT@" == "listens" or ("@WHAT@" == "3 : 1" and sent % 4 == 0) then return listens() end
    return next_tracks()
end
"""


class Measured(NamedTuple):
    """What wrk found."""

    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    failed: int
    """Responses that were no 2xx, and requests without one."""


def main() -> None:
    """Make the models, measure, and print a table for each number of tracks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--replicas", type=int, default=1, help="of both endpoints")
    parser.add_argument("--keep", help="folder for the models, which are used again; a temporary one by default")
    arguments = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.keep or temporary)
        given = arguments.connections, arguments.seconds, arguments.replicas, Path(temporary)
        noop = _measured_noop(*given)
        for tracks in arguments.tracks:
            workspace = _model(folder / f"serve{tracks}", arguments.users, tracks)
            size = f"{arguments.users:,} users, {tracks:,} tracks simulated, replicas: {arguments.replicas}"
            table = Table(title=size, title_justify="left")
            for heading in HEADINGS:
                table.add_column(heading, justify="left" if heading == "requests" else "right")
            for what, connections, found in _measured_model(workspace, *given):
                nothing = noop[connections]
                table.add_row(
                    what,
                    str(connections),
                    f"{found.per_second:,.0f}",
                    f"{nothing.per_second:,.0f}",
                    f"{found.per_second / nothing.per_second:.0%}",
                    *(f"{value:.1f}" for value in (found.p50_ms, found.p90_ms, found.p99_ms, nothing.p99_ms)),
                    str(found.failed),
                )
            console.print(table)
    console.print(
        f"make bench-serve · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · {platform.machine()}, "
        f"{os.cpu_count()} cores, which wrk shares"
    )


def _model(folder: Path, users: int, tracks: int) -> Workspace:
    """Return a working folder with a champion, made if it is missing."""
    settings = [
        f"workdir={folder}",
        f"simulate.users={users}",
        f"simulate.tracks={tracks}",
        f"simulate.artists={tracks // 10}",
        "simulate.days=2",
        "simulate.sessions_per_day=0.7",
        "dataset.track2vec.epochs=1",
        "train.max_epochs=1",
    ]
    workspace = Workspace(load_config(settings))
    if not (folder / "runs" / "latest.json").exists():
        for command in ("simulate", "ingest", "prepare", "train"):
            subprocess.run([*FSVAE, command, *settings], check=True)
    return workspace


def _measured_noop(connections: Sequence[int], seconds: int, replicas: int, folder: Path) -> dict[int, Measured]:
    port = free_port(HOST)
    users = folder / "noop.txt"
    users.write_text("anybody\n")
    command = [sys.executable, "-m", "benchmarks.noop_endpoint", str(port), str(replicas)]
    with process(command, f"http://127.0.0.1:{port}/v1/next-tracks"):
        return {
            number: _wrk(port, number, seconds, _script(folder, users, users, "next-tracks")) for number in connections
        }


def _measured_model(
    workspace: Workspace, connections: Sequence[int], seconds: int, replicas: int, folder: Path
) -> Iterator[tuple[str, int, Measured]]:
    port = free_port(HOST)
    version = workspace.tracker.resolve(None)
    bundle = load_bundle(workspace.tracker.bundle(version))
    users, tracks = folder / "users.txt", folder / "tracks.txt"
    users.write_text("\n".join(bundle.user_ids) + "\n")
    tracks.write_text("\n".join(bundle.track_ids) + "\n")
    shutil.rmtree(workspace.live.parent, ignore_errors=True)  # what an earlier run has posted
    counts = f"serve.replicas={replicas}", f"serve.num_cpus={max(replicas, 2)}"
    command = [*FSVAE, "serve", f"workdir={workspace.root}", f"serve.port={port}", *counts]
    with process(command, f"http://127.0.0.1:{port}/v1/next-tracks"):
        _wrk(port, 8, 3, _script(folder, users, tracks, "3 : 1"))  # warm up
        for what in ("next-tracks", "listens", "3 : 1"):
            for number in connections:
                yield what, number, _wrk(port, number, seconds, _script(folder, users, tracks, what))


def _script(folder: Path, users: Path, tracks: Path, what: str) -> Path:
    values = {"USERS": str(users), "TRACKS": str(tracks), "WHAT": what, "SEED": str(time.time_ns() % 10**9)}
    script = _SCRIPT
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    path = folder / "requests.lua"
    path.write_text(script)
    return path


def _wrk(port: int, connections: int, seconds: int, script: Path) -> Measured:
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    said = subprocess.run([*command, f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True).stdout
    p50, p90, p99 = (_milliseconds(said, percent) for percent in (50, 90, 99))
    failed = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    for line in re.findall(r"Socket errors: (.*)", said):
        failed += sum(int(number) for number in re.findall(r"\d+", line))
    (per_second,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    return Measured(float(per_second), p50, p90, p99, failed)


def _milliseconds(said: str, percent: int) -> float:
    found = re.findall(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)\s*$", said, re.MULTILINE)
    assert len(found) == 1, said
    ((value, unit),) = found
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@contextmanager
def process(command: Sequence[str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the context is open, from when it answers."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                if httpx.post(url, json={"user_id": "a"}, timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.5)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


if __name__ == "__main__":
    main()
