"""A redis-server that a test starts, stops and kills."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_DEADLINE_S = 20.0
"""How long a server may take to start."""


class RedisServer:
    """A redis-server on a port that was free, with its files in a folder. What it has answered is on disk."""

    def __init__(self, folder: Path) -> None:
        """Start it; skip the test where none is installed."""
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed: apt-get install redis-server")
        self._folder = folder
        while True:  # another process may take the port that was free
            self.port = _free_port()
            try:
                self.start()
                return
            except ChildProcessError:
                continue

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ChildProcessError: it ended.
            TimeoutError: it does not answer.
        """
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "logfile": self._folder / "log"}
        told = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen(["redis-server", *told], env=os.environ | {"LC_ALL": "C"})
        deadline = time.monotonic() + _DEADLINE_S
        while not self._answers():
            if self._process.poll() is not None:
                raise ChildProcessError(f"redis-server ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"redis-server does not answer; see {self._folder / 'log'}")
            time.sleep(0.01)

    def pause(self) -> None:
        """Let it answer nothing until `go_on`; what it is told meanwhile it reads then."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it as a crash does."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.info("server")["process_id"] == self._process.pid)
            except redis.ConnectionError:
                return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
