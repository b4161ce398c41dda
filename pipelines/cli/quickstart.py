"""Quickstart: from nothing to a served next track, with every command that a person would type on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.panel import Panel

from fsvae.data.dataset import PreparedDataset
from pipelines.cli.activate import activation
from pipelines.cli.console import console, run_evaluate, run_ingest, run_prepare, run_promote, run_simulate, run_train
from pipelines.prepare.datasets import open_in_use
from pipelines.workspace import Workspace

_K = 5


def quickstart(
    workspace: Workspace,
    serving: Callable[[Workspace], AbstractContextManager[str]],
    ask: Callable[[str, dict[str, Any]], dict[str, Any]],
    wait: Callable[[], None] | None,
) -> None:
    """Run the whole chain on a simulated log and ask the endpoint for one user's next tracks.

    Args:
        workspace: where.
        serving: serves the champion while its context is open and yields the URL.
        ask: posts a question to a URL and returns the answer.
        wait: called with the endpoint still up, to keep it so; None shuts it down at once.
    """
    began = time.perf_counter()
    run_simulate(workspace)
    run_ingest(workspace)
    dataset = open_in_use(run_prepare(workspace))
    run = run_train(workspace, dataset)
    run_evaluate(workspace, run, dataset)
    run_promote(workspace, run.version, dataset)
    with serving(workspace) as url:
        question = question_of(dataset)
        answer = ask(url, question)
        console.print(f"[bold]serve[/]     POST {url}/v1/next-tracks")
        console.print_json(json.dumps(question), indent=None)
        console.print_json(json.dumps(answer))
        console.print(_closing(workspace, run.folder.name, question, time.perf_counter() - began))
        if wait is not None:
            console.print(f"The endpoint stays up at {url} (docs: {url}/docs). Ctrl-C ends it.")
            wait()


def question_of(dataset: PreparedDataset) -> dict[str, Any]:
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
    return Panel("\n".join(lines), expand=False)
