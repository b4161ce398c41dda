"""The record of a tuning: `tune.json` while it runs, from which the runs that belong to it are known."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsvae.storage import Folder
from pipelines.tracking import git_commit
from pipelines.tuning.tried import Tried
from pipelines.tuning.tuning import Tuning

RECORD = "tune.json"


def head_of(tuning: Tuning, datasets: dict[str, Folder]) -> dict[str, Any]:
    """Return what a record says of a tuning beside its trials: what was searched, on what, where and when."""
    config = tuning.config
    return {
        "name": tuning.name,
        "title": config.tune.title,
        "command": tuning.command,
        "git_commit": git_commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "recommender": config.recommender,
        "seed": config.seed,
        "metric": config.tune.metric,
        "period": config.evaluate.period,
        "datasets": {log: dataset.name for log, dataset in datasets.items()},
        "space": {
            dimension.key: {**asdict(dimension.span), "present": dimension.present} for dimension in tuning.space
        },
        "budget": {"trials": config.tune.trials, "epochs": config.train.max_epochs, "at_once": config.tune.at_once},
    }


def write_record(folder: Path, head: dict[str, Any], tried: Sequence[Tried]) -> None:
    """Write the record with the trials so far."""
    Folder.at(folder).write_json(RECORD, {**head, "trials": [asdict(trial) for trial in tried]})


def tuned_runs(tunings: Path) -> set[str]:
    """Return the names of the folders of all runs that belong to a tuning."""
    records = [Folder.at(path.parent).read_json(RECORD) for path in tunings.glob(f"*/{RECORD}")]
    return {run for record in records for trial in record["trials"] for run in trial["runs"]}
