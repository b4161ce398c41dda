"""The places of everything in one working folder."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fsvae.errors import UserError
from pipelines.config.schema import Config

if TYPE_CHECKING:  # each is imported where it is needed: a command waits for no more than it uses
    from fsvae.data.dataset import Dataset
    from fsvae.storage import Folder
    from pipelines.lake.lake import Lake
    from pipelines.tracking import Tracker
    from serving.stores.open_store import StorePlace
    from serving.stores.store import Store


@dataclass(frozen=True)
class Workspace:
    """A working folder and its configuration."""

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
        from fsvae.storage import Folder

        return Folder.at(self.config.datasets or self.root / "datasets")

    @property
    def live(self) -> Path:
        """Return the file of the listens that were posted to the endpoint."""
        return self.root / "live" / "listens.sqlite"

    @property
    def endpoint_log(self) -> Path:
        """Return the log of the endpoint."""
        return self.root.absolute() / "live" / "endpoint.log"

    @property
    def store_place(self) -> StorePlace:
        """Return the place of the store of what the endpoint is told."""
        from serving.stores.open_store import StorePlace

        serve = self.config.serve
        return StorePlace(serve.store, serve.redis_url if serve.store == "redis" else str(self.live.absolute()))

    @property
    def store_name(self) -> str:
        """Return what the lake knows the store by: its file, or its address without the password."""
        return re.sub(r"(?<=//)[^/]*@|(?<=[?&])password=[^&]*", "", self.store_place.where)

    @property
    def has_store(self) -> bool:
        """Return whether there is a store of what the endpoint was told."""
        return self.config.serve.store == "redis" or self.live.exists()

    def store(self) -> Store:
        """Open the store of what the endpoint was told.

        Raises:
            UserError: there is none, or it cannot be opened.
        """
        from serving.stores.open_store import open_store

        place = self.store_place
        if place.kind == "sqlite" and not self.live.is_file():
            raise UserError(
                f"{self.live}: there is no such file, so nothing was posted to an endpoint of this working folder. "
                f"Serve a model, which makes it: fsvae serve{self.override}"
            )
        return open_store(place)

    @property
    def runs(self) -> Path:
        """Return the folder of training runs."""
        return self.root / "runs"

    @property
    def variants(self) -> Path:
        """Return the folder of the trials of matrices and tunings, one for a variant and seed; absolute for workers."""
        return self.root.absolute() / "variants"

    @property
    def matrices(self) -> Path:
        """Return the folder of matrices and their reports."""
        return self.root / "matrices"

    @property
    def tunings(self) -> Path:
        """Return the folder of tunings: their studies and records."""
        return self.root / "tunings"

    @cached_property
    def tracker(self) -> Tracker:
        """Return the MLflow store, opened on first use, as that takes seconds."""
        from pipelines.tracking import Tracker

        return Tracker(self.config.tracking, self.root)

    @property
    def override(self) -> str:
        """Return the setting that a command needs to work in this folder too; empty for the default one."""
        return "" if self.config.workdir == Config.workdir else f" {shlex.quote(f'workdir={self.config.workdir}')}"

    def trained(self) -> Workspace:
        """Return this workspace for a command that only reads models and must not create a store.

        Raises:
            UserError: no model has been trained here.
        """
        from pipelines.tracking import STORE

        if not self.config.tracking.uri and not (self.root / STORE).exists():
            near = sorted([*self.root.glob(f"*/{STORE}"), *self.root.parent.glob(f"*/{STORE}")])
            other = f", or use the one of workdir={near[0].parent}" if near else ""
            raise UserError(f"{self.root}: no trained model there. Train one: fsvae train{self.override}{other}")
        return self

    def lake(self) -> Lake:
        """Return the lake."""
        from pipelines.lake.lake import Lake

        return Lake(self.config.lake or self.root / "lake")

    def dataset(self) -> Dataset:
        """Return the newest prepared dataset."""
        from pipelines.prepare.datasets import open_in_use

        return open_in_use(self.datasets)
