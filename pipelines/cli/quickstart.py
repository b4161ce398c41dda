"""Quickstart: from nothing to a served next track, with the commands of each step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.panel import Panel
from rich.text import Text

from fsvae.data.dataset import Dataset
from pipelines.cli.activate import activation
from pipelines.cli.console import Terminal, console
from pipelines.ingest.ingest import ingest
from pipelines.lifecycle.learn import learn
from pipelines.simulation.simulate import simulate
from pipelines.workspace import Workspace
from serving.app import ask, wait

_K = 5


def quickstart(
    workspace: Workspace, serving: Callable[[Workspace], AbstractContextManager[str]], keep_serving: bool
) -> None:
    """Run the whole chain on a simulated log and ask the endpoint for one user's next tracks.

    Args:
        workspace: workspace of all results.
        serving: context that serves the champion while it is open and yields the URL.
        keep_serving: leave the endpoint up until Ctrl-C.
    """
    began = time.perf_counter()
    terminal, config = Terminal(), workspace.config
    with terminal.progress("simulate") as told:
        terminal.show(simulate(config.simulate, workspace.raw, told))
    with terminal.progress("ingest") as told:
        terminal.show(ingest(workspace.lake(), config.source, told))
    dataset, run, _ = learn(workspace, config.dataset, terminal)
    with serving(workspace) as url:
        question = question_of(dataset)
        answer = ask(url, question)
        terminal.note("serve", f"POST {url}/v1/next-tracks")
        console.print_json(json.dumps(question), indent=None)
        console.print_json(json.dumps(answer))
        console.print(_closing(workspace, run.folder.name, question, time.perf_counter() - began))
        if keep_serving:
            console.print(f"The endpoint stays up at {url} (docs: {url}/docs). Ctrl-C ends it.", markup=False)
            wait()


def question_of(dataset: Dataset) -> dict[str, Any]:
    """Return a request for the user with the most listens in the test period, made right after the last of them."""
    targets = dataset.targets("test")
    user = int(np.bincount(dataset.listens.user[targets]).argmax())
    last = int(dataset.listens.played_at[dataset.listens.offsets[user + 1] - 1])
    at = datetime.fromtimestamp(last / 1e6 + 240, UTC).isoformat(timespec="seconds")
    return {"user_id": dataset.user_ids[user], "k": _K, "at": at}


def _closing(workspace: Workspace, run: str, question: dict[str, Any], seconds: float) -> Panel:
    root, here, activate = workspace.root, workspace.override, activation()
    commands = {activate: "first: puts fsvae on the path"} if activate else {}
    commands |= {
        f"fsvae recommend {question['user_id']} --at {question['at']}{here}": "the same in the terminal",
        f"fsvae serve{here}": "the endpoint, on port 8000",
        f"fsvae train model=paper{here}": "another model on the same data",
        "fsvae ingest --help": "your own listening logs",
    }
    width = max(map(len, commands))
    lines = [
        f"Done in {seconds:.0f} s. Look at:",
        f"  the picture       {root / 'runs' / run / 'evaluation' / 'test' / 'metrics.png'}",
        f"  the runs          mlflow ui --backend-store-uri {workspace.tracker.uri}",
        "",
        "Go on with:",
        *(f"  {command:<{width}}   {what}" for command, what in commands.items()),
    ]
    return Panel(Text("\n".join(lines)), expand=False)
