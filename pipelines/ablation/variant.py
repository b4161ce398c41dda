"""One variant with one seed: fitted, evaluated and stored. A finished trial is not run again.

Its folder is named by its inputs, so that the same variant of another matrix is the same folder:

* `variant.json`: its inputs;
* `checkpoints/` while a network is trained, then `model.safetensors`; `curves.parquet`: the metrics of each epoch,
  and `refit_curves.parquet`: those of each epoch of a second fit, on training and validation together;
* `test/` (or `validation/`): `positions.parquet` with every target, `latent.json` of an FS-VAE with a Gaussian latent,
  and `metrics.json`, which is written last; `test-live/`: `positions.parquet` of the live evaluation of a memory.
"""

from __future__ import annotations

import io
import time
import traceback
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from fsvae.data.dataset import Dataset, open_dataset
from fsvae.errors import UserError
from fsvae.evaluation.latent_use import LatentUse, latent_use
from fsvae.evaluation.live import midnights
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result import EvaluationResult
from fsvae.evaluation.result_files import FILE, read_results, write_results
from fsvae.files import fingerprint
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.predict import NetworkPredictor
from fsvae.storage import Folder
from pipelines.ablation.recommenders import is_live, made_of, make_recommender
from pipelines.config.schema import Config
from pipelines.runtime.locks import held

DONE = "metrics.json"
"""File of an evaluation that is written last."""
_CURVES, _REFIT_CURVES = "curves.parquet", "refit_curves.parquet"
_OF_LATENT = ("kl", "variance", "noise")


@dataclass(frozen=True)
class Trial:
    """A variant with a seed."""

    config: Config
    seed: int
    dataset: Folder
    variants: Path
    """Folder of all trials."""

    @cached_property
    def made_of(self) -> dict[str, Any]:
        """Return the inputs of the fitted model; the period of the evaluation is not among them.

        But a model that would learn from the validation period too does not where it is evaluated on it.
        """
        return {"dataset": self.dataset.name, **made_of(self.config, self.seed)}

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return fingerprint(self.made_of)

    @property
    def stored(self) -> StoredTrial:
        """Return the trial's files, which may not exist yet."""
        return StoredTrial(self.variants / self.name, self.config.evaluate.period, is_live(self.config))


@dataclass(frozen=True)
class StoredTrial:
    """The files of a variant with a seed, evaluated on one period."""

    folder: Path
    period: str
    live: bool = False
    """Whether it is evaluated live, too."""

    @property
    def evaluation(self) -> Folder:
        """Return the folder of its evaluation."""
        return Folder.at(self.folder / self.period)

    @property
    def done(self) -> bool:
        """Return whether it is finished."""
        return self.evaluation.exists(DONE) and (not self.live or self.live_evaluation.exists(FILE))

    @property
    def live_evaluation(self) -> Folder:
        """Return the folder of its live evaluation."""
        return Folder.at(self.folder / f"{self.period}-live")

    def made_of(self) -> dict[str, Any]:
        """Return `Trial.made_of`."""
        found: dict[str, Any] = Folder.at(self.folder).read_json("variant.json")
        return found

    def summary(self) -> dict[str, Any]:
        """Return the means of its metrics, and its seconds and epochs."""
        found: dict[str, Any] = self.evaluation.read_json(DONE)
        return found

    def result(self, name: str, live: bool = False) -> EvaluationResult:
        """Return its result, target by target, under a name."""
        ((result,),) = read_results([self.live_evaluation if live else self.evaluation]).values()
        return replace(result, model=name)

    def curves(self) -> pl.DataFrame | None:
        """Return a network's metrics, a row an epoch of its first fit."""
        path = self.folder / _CURVES
        return pl.read_parquet(path) if path.exists() else None

    def latent(self) -> LatentUse | None:
        """Return the use of its latent, if it has one.

        Raises:
            UserError: an older version wrote it, without figures that are needed now.
        """
        if not self.evaluation.exists("latent.json"):
            return None
        found = self.evaluation.read_json("latent.json")
        if not set(_OF_LATENT) <= set(found):
            raise UserError(f"{self.folder}: written by an older version. Delete it, and run the matrix again.")
        return LatentUse(*(np.array(found[name]) for name in _OF_LATENT))


@dataclass(frozen=True)
class Ended:
    """The outcome of a trial's run."""

    seconds: float
    error: str = ""
    """Error in one sentence; empty: none."""


def run_trial(trial: Trial) -> Ended:
    """Fit and evaluate a variant with a seed, unless it is done, and store the result.

    An error is returned, not raised, so that the other variants of a matrix still run.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)  # an engine runs one for each core
    folder = Folder.at(trial.stored.folder)
    try:
        with held(folder, "run of this very variant"):
            if not trial.stored.done:
                _run(trial)
    except UserError as error:
        return Ended(time.perf_counter() - began, str(error))
    except Exception as error:
        folder.write("error.txt", traceback.format_exc().encode())
        return Ended(time.perf_counter() - began, f"{error!r}; all of it is in {folder}/error.txt")
    return Ended(time.perf_counter() - began)


def _run(trial: Trial) -> None:
    stored, folder = trial.stored, Folder.at(trial.stored.folder)
    folder.write_json("variant.json", trial.made_of)
    folder.delete("error.txt")
    dataset = _opened(trial.dataset)
    began = time.perf_counter()
    curves = _Curves(folder)
    recommender = make_recommender(trial.config, dataset, trial.seed, stored.folder, curves.add, curves.refit)
    fitted = time.perf_counter()
    result = evaluate_model(recommender, dataset, stored.period)
    evaluated = time.perf_counter()
    write_results(stored.evaluation, [result], dataset)
    network = recommender.network if isinstance(recommender, NetworkPredictor) else None
    if stored.live and isinstance(recommender, NetworkPredictor):
        live = recommender.refreshed(midnights(dataset, stored.period))
        write_results(stored.live_evaluation, [evaluate_model(live, dataset, stored.period)], dataset)
    if isinstance(network, FSVAENetwork) and network.config.latent == "gaussian":
        use = latent_use(network, dataset, stored.period)
        figures = (use.kl_Z, use.variance_Z, use.noise_Z)
        stored.evaluation.write_json("latent.json", {n: x.tolist() for n, x in zip(_OF_LATENT, figures, strict=True)})
    summary = {
        "metrics": result.metrics(),
        "epochs": curves.epochs,
        "fit_seconds": curves.seconds or fitted - began,
        "evaluate_seconds": evaluated - fitted,
    }
    stored.evaluation.write_json(DONE, summary)


class _Curves:
    """The metrics of each epoch, on disk as soon as the epoch is over."""

    def __init__(self, folder: Folder) -> None:
        """Continue those of an interrupted run."""
        self._folder = folder
        self._file = _CURVES
        self._began = time.perf_counter()
        self._rows: dict[str, dict[int, dict[str, float]]] = {_CURVES: {}, _REFIT_CURVES: {}}
        for file, rows in self._rows.items():
            if folder.exists(file):
                rows |= {row["epoch"]: row for row in pl.read_parquet(folder.read(file)).iter_rows(named=True)}

    @property
    def epochs(self) -> int:
        """Return the number of epochs of all fits."""
        return sum(map(len, self._rows.values()))

    @property
    def seconds(self) -> float:
        """Return the time of all epochs [s], those before an interruption included."""
        return sum(row["seconds"] for rows in self._rows.values() for row in rows.values())

    def refit(self, epochs: int) -> None:
        """Take the epochs that come for those of the second fit."""
        self._file = _REFIT_CURVES

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add an epoch (from 1) and its metrics."""
        now, rows = time.perf_counter(), self._rows[self._file]
        rows[epoch] = {"epoch": epoch, "seconds": now - self._began, **metrics}
        self._began = now
        file = io.BytesIO()
        pl.DataFrame([rows[epoch] for epoch in sorted(rows)]).write_parquet(file)
        self._folder.write(self._file, file.getvalue())


_open: dict[str, Dataset] = {}


def _opened(folder: Folder) -> Dataset:
    """Return a dataset, opened unless the process's previous variant used it."""
    if folder.name not in _open:
        _open.clear()
        _open[folder.name] = open_dataset(folder)
    return _open[folder.name]
