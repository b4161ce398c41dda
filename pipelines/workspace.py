"""Where everything of one working folder lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsvae.data.dataset import PreparedDataset, open_dataset
from fsvae.storage import Folder
from pipelines.config import Config
from pipelines.lake import Lake
from pipelines.tracking import Tracker


@dataclass(frozen=True)
class Workspace:
    """A working folder and the configuration of what is done in it."""

    config: Config

    @property
    def root(self) -> Path:
        """Return the folder itself."""
        return Path(self.config.workdir)

    @property
    def raw(self) -> Path:
        """Return the folder of simulated logs."""
        return self.root / "raw"

    @property
    def datasets(self) -> Folder:
        """Return the folder of prepared datasets."""
        return Folder.at(self.config.datasets or self.root / "datasets")

    @property
    def runs(self) -> Path:
        """Return the folder of training runs."""
        return self.root / "runs"

    @cached_property
    def tracker(self) -> Tracker:
        """Return the MLflow store; opening it takes seconds, so it is opened when it is first asked for."""
        return Tracker(self.config.tracking, self.root)

    def lake(self) -> Lake:
        """Return the lake."""
        return Lake(self.config.lake or self.root / "lake")

    def dataset(self) -> PreparedDataset:
        """Return the newest prepared dataset."""
        return open_dataset(self.datasets)
