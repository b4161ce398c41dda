"""Prepare: the lake → a prepared dataset, in a folder of datasets whose CURRENT names the newest.

The library writes a dataset's files (`fsvae.prepare.make_dataset`); this module adds the lock, the engine, the track
space to continue, and retention.
"""

from __future__ import annotations

import time
from pathlib import Path

from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.dataset_files import current_dataset, is_prepared
from fsvae.prepare.make_dataset import DatasetJob, in_this_process, make_dataset
from fsvae.progress import Stage
from fsvae.schema import SCHEMA_VERSION
from fsvae.storage import Folder
from pipelines.lake.lake import Lake
from pipelines.prepare.datasets import make_current
from pipelines.prepare.prepared import Prepared
from pipelines.runtime.engine import Engine
from pipelines.runtime.locks import held


def prepare(
    lake: Lake,
    config: DatasetConfig,
    seed: int,
    datasets: str | Path | Folder,
    progress: Stage = lambda stage, share: None,
    engine: Engine | None = None,
) -> Prepared:
    """Make the prepared dataset of a lake and config, unless it exists, and point CURRENT at it.

    Args:
        lake: lake to prepare.
        config: settings of the dataset.
        seed: seed of the track vectors.
        datasets: the folder of all datasets, which also holds their common cache.
        progress: called with the stage and the share of the whole that is done.
        engine: engine that runs the pieces; by default this process.

    Raises:
        UserError: the lake holds no events, the split leaves a period empty, another prepare is running, or the
            dataset whose track space is continued was deleted meanwhile.
    """
    began = time.perf_counter()
    folder = Folder.at(datasets)
    run = engine.map if engine else in_this_process
    job = DatasetJob.of(lake, config, seed, folder, run=run, progress=progress)
    with held(folder, "prepare"):
        made, reused = make_dataset(job, _continued(job) if config.continue_space else "")
        make_current(folder, made.name, config.keep)
    return Prepared(made, made.read_json("manifest.json"), reused, time.perf_counter() - began)


def _continued(job: DatasetJob) -> str:
    """Return the name of the dataset whose track space the new one continues; empty: it starts a new space.

    Repeating the command continues the same one as before. Otherwise it is the current one, unless its training period
    ends later than the new one's, as its vectors would then hold information on the time to be predicted.
    """
    folders = [job.datasets / name for name in job.datasets.folders() if not name.startswith(".")]
    manifests = {folder.name: folder.read_json("manifest.json") for folder in filter(is_prepared, folders)}
    for manifest in manifests.values():
        if all(manifest.get(key) == value for key, value in job.made_of.items()):
            return str(manifest["continues"])
    current = current_dataset(job.datasets)
    if current is None or manifests[current.name]["schema_version"] != SCHEMA_VERSION:
        return ""
    return current.name if manifests[current.name]["train_until_us"] <= job.cuts[0] else ""
