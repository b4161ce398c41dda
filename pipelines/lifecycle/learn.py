"""Learn: what is in the lake → perhaps a new champion."""

from __future__ import annotations

from datetime import date

from fsvae.data.dataset import Dataset
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.lifecycle.evaluate import evaluate
from pipelines.lifecycle.measure import measure
from pipelines.lifecycle.promote import Verdict, promote
from pipelines.lifecycle.train import Run, train
from pipelines.prepare.datasets import open_in_use
from pipelines.prepare.prepare import prepare
from pipelines.runtime.engine import engine_of
from pipelines.runtime.watch import Watch
from pipelines.workspace import Workspace


def learn(
    workspace: Workspace, dataset_config: DatasetConfig, watch: Watch, measured: date | None = None
) -> tuple[Dataset, Run, Verdict]:
    """Prepare, train, evaluate, and promote the model unless it is worse; each step finds what is done.

    Args:
        workspace: workspace of all results.
        dataset_config: settings of the dataset.
        watch: listener to each step.
        measured: day on which the champion is measured before anything learns from it; None: it is not.

    Returns:
        The dataset, the run on it, and whether its model is the champion.

    Raises:
        UserError: the lake holds too little to learn from, or another process is at one of the steps.
    """
    config, tracker = workspace.config, workspace.tracker
    with watch.progress("prepare") as told, engine_of(config.engine) as engine:
        prepared = prepare(workspace.lake(), dataset_config, config.seed, workspace.datasets, told, engine)
    watch.show(prepared)
    dataset = open_in_use(prepared.folder)
    if measured is not None and (figures := measure(tracker, dataset, measured)) is not None:
        watch.show(figures)
    what = (dataset, config.model, config.train, config.seed, workspace.runs)
    run = train(*what, tracker, watch.epoch, watch.interactive, watch.resumed, watch.refit)
    watch.show(run)
    watch.show(evaluate(run, dataset, config.evaluate, tracker, config.baselines.aggregate_sequence))
    verdict = promote(tracker, run.version, dataset, config.promote)
    watch.show(verdict)
    return dataset, run, verdict
