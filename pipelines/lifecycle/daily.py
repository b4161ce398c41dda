"""The daily job: ingest what arrived → prepare → train → evaluate → promote. Meant for cron; safe to run twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from pipelines.cli.console import console, run_evaluate, run_ingest, run_prepare, run_promote, run_train
from pipelines.lifecycle.promote import Verdict
from pipelines.prepare.datasets import open_in_use
from pipelines.runtime.locks import held
from pipelines.workspace import Workspace


def daily(workspace: Workspace, day: date) -> Verdict:
    """Train on all events up to the end of a day (UTC) and promote the model if it beats the champion.

    Every step finds what an earlier, perhaps killed, run for the same day has finished, and goes on from there.

    Raises:
        UserError: another daily run is under way in the working folder.
    """
    before = (day + timedelta(days=1)).isoformat()
    config = replace(workspace.config, dataset=replace(workspace.config.dataset, before=before, continue_space=True))
    workspace = Workspace(config)
    with held(workspace.root, "daily run"):
        run_ingest(workspace)
        if day.isoformat() not in workspace.lake().manifest.days:
            console.print(f"[yellow]warning[/]   no listens on {day} in the lake: did the logs arrive?")
        dataset = open_in_use(run_prepare(workspace))
        run = run_train(workspace, dataset)
        run_evaluate(workspace, run, dataset)
        return run_promote(workspace, run.version, dataset)
