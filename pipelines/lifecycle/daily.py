"""The daily job: ingest what arrived and what was posted → prepare → measure → train → evaluate → promote.

It is safe to run twice.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta

from pipelines.ingest.ingest import ingest
from pipelines.ingest.live import ingest_live
from pipelines.lifecycle.learn import learn
from pipelines.lifecycle.promote import Verdict
from pipelines.runtime.locks import held
from pipelines.runtime.watch import Watch
from pipelines.workspace import Workspace


def daily(workspace: Workspace, day: date, watch: Watch) -> Verdict:
    """Train on all events up to the end of a day (UTC) and promote the model unless it is worse than the champion.

    Every step finds the results of an earlier, perhaps killed, run for the same day, and continues from there.

    Args:
        workspace: workspace of all results.
        day: the last day to learn from.
        watch: listener to each step.

    Raises:
        UserError: another daily run is in progress in the working folder.
    """
    before = (day + timedelta(days=1)).isoformat()
    config = workspace.config
    dataset_config = replace(config.dataset, before=before, continue_space=True)
    with held(workspace.root, "daily run"):
        with watch.progress("ingest") as told:
            watch.show(ingest(workspace.lake(), config.source, told))
        if workspace.has_store:
            with closing(workspace.store()) as store, watch.progress("ingest") as told:
                watch.show(ingest_live(workspace.lake(), store, workspace.store_name, told))
        if day.isoformat() not in workspace.lake().manifest.days:
            watch.warn(f"no listens on {day} in the lake: did the logs arrive?")
        return learn(workspace, dataset_config, watch, measured=day)[2]
