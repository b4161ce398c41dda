"""CPU seconds of each command up to its first work, beside `python -c pass`: python -m benchmarks.command_line.

A command is run as a user runs it, in a process of its own; the function that does its work is replaced by one that
tells the CPU time of the process and ends it. Medians of several runs, taken in turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

RUNS = 5
LIMIT_S = 1.0
COMMANDS = {
    "--help": ([], ""),
    "config": (["config"], "pipelines.config.help:commented_yaml"),
    "simulate": (["simulate"], "pipelines.simulation.simulate:simulate"),
    "ingest": (["ingest", "--source", "table", "log.csv"], "pipelines.ingest.ingest:ingest"),
    "prepare": (["prepare"], "pipelines.prepare.prepare:prepare"),
    "describe": (["describe"], "pipelines.reports.describe.describe_lake:describe_lake"),
    "runs": (["runs", "tracking.uri=http://127.0.0.1:9"], "pipelines.tracking:Tracker.__init__"),
    "a wrong setting": (["train", "model.histroy=3"], ""),
}
"""Name → arguments, and the function that does the work; none: the command ends by itself."""
_CHILD = """
import sys, time
def told(*_, **__):
    print(time.process_time())
    sys.exit()
target, sys.argv = sys.argv[1], ["fsvae", *sys.argv[2:]]
if target:
    class Finder:  # replaces the function as soon as its module is imported, and not before
        def find_spec(self, name, path=None, target_module=None):
            module, _, attribute = target.partition(":")
            if name != module:
                return None
            sys.meta_path.remove(self)
            import importlib.util
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module
            def exec_module(found):
                execute(found)
                holder, _, last = attribute.rpartition(".")
                setattr(getattr(found, holder) if holder else found, last, told)
            spec.loader.exec_module = exec_module
            return spec
    sys.meta_path.insert(0, Finder())
import atexit
atexit.register(lambda: target or print(time.process_time()))
from pipelines.cli.main import main
main()
"""


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "log.csv").write_text("user_id,track_id,played_at\n")
        seconds: dict[str, list[float]] = {name: [] for name in ("python -c pass", *COMMANDS)}
        for _ in range(RUNS):
            seconds["python -c pass"].append(_cpu(["-c", "import time; print(time.process_time())"], folder))
            for name, (arguments, target) in COMMANDS.items():
                seconds[name].append(_cpu(["-c", _CHILD, target, *arguments], folder))
    table = Table(title=f"CPU seconds up to the first work, median of {RUNS} (limit {LIMIT_S})", title_justify="left")
    for heading in ("command", "median", "least", "most"):
        table.add_column(heading)
    for name, found in seconds.items():
        table.add_row(name, *(f"{of(found):.2f}" for of in (statistics.median, min, max)))
    Console().print(table)


def _cpu(arguments: list[str], folder: str) -> float:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"{arguments[2:]} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
