"""A small simulated log, ingested and prepared once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsvae.data.dataset import Dataset, open_dataset
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.simulation.simulate import SimulateConfig, simulate

SMALL_DATASET = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=2))


@pytest.fixture(scope="session")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a simulated log: 60 users, 28 days, 200 tracks; one Parquet file a day."""
    log = tmp_path_factory.mktemp("small-log")
    simulate(SimulateConfig(users=60, tracks=200, artists=40, genres=5, days=28), log)
    return log


@pytest.fixture(scope="session")
def small_lake(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Return the lake of the small log. Read it only."""
    lake = Lake(tmp_path_factory.mktemp("small") / "lake")
    ingest(lake, SourceConfig(path=str(small_log)))
    return lake


@pytest.fixture(scope="session")
def small_datasets(small_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of datasets whose CURRENT is the small lake's. Read it only."""
    datasets = tmp_path_factory.mktemp("small-datasets")
    prepare(small_lake, SMALL_DATASET, seed=1, datasets=datasets)
    return datasets


@pytest.fixture(scope="session")
def small_dataset(small_datasets: Path) -> Dataset:
    """Return the small dataset in memory."""
    return open_dataset(small_datasets)
