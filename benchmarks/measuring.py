"""A command as a process of its own: its time, and the most memory that it and what it started held."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Measured:
    """One command: what it printed, how long it took, and the most memory that it held."""

    output: str
    seconds: float
    peak_gib: float


def measure(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        peak = _Peak(child.pid)
        output, _ = child.communicate()
        peak.stop()
        if child.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
    return Measured(output, time.perf_counter() - began, peak.gib)


class _Peak(threading.Thread):
    """Watches the memory of a process and those that it started."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.gib = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            used = 0
            try:
                tree = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in tree:
                try:
                    memory = process.memory_info()
                except psutil.NoSuchProcess:
                    continue
                used += memory.rss - memory.shared  # files that are mapped into memory may be dropped at any time
            self.gib = max(self.gib, used / 2**30)

    def stop(self) -> None:
        self._ended.set()
        self.join()
