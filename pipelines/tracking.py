"""MLflow: runs, artifacts, and the registry with its aliases. SQLite in the working folder unless told otherwise."""

from __future__ import annotations

import logging
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsvae.errors import UserError
from pipelines.config.lifecycle_config import TrackingConfig

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
"""Alias of the champion before the present one."""
PARENT = "mlflow.parentRunId"
"""Tag of a run that is nested in another one."""
_ROLLED_BACK = "rolled_back"
_BATCH = 1000
"""Largest number of metrics that MLflow takes at once."""
STORE = "mlflow.db"
"""Name of the SQLite store in the working folder."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model, with its run."""

    number: int
    run: str
    """Name of the run's folder."""
    aliases: list[str]
    registered_at: datetime
    metrics: dict[str, float]


@dataclass(frozen=True)
class Found:
    """A run in the store."""

    run_id: str
    finished: bool
    tags: dict[str, str]


class Tracker:
    """One MLflow store, one experiment, one registered model."""

    def __init__(self, config: TrackingConfig, workdir: Path) -> None:
        """Open the store, and create the experiment and the registered model if they are missing."""
        import mlflow
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        workdir.mkdir(parents=True, exist_ok=True)
        self.uri = config.uri or f"sqlite:///{workdir.resolve()}/{STORE}"
        mlflow.set_tracking_uri(self.uri)
        self._client = mlflow.MlflowClient(self.uri, self.uri)
        self._model = config.model
        self._experiment = config.experiment
        experiment = self._client.get_experiment_by_name(config.experiment)
        if experiment is None:
            artifacts = None if config.uri else (workdir.resolve() / "mlartifacts").as_uri()
            self._experiment_id = self._client.create_experiment(config.experiment, artifact_location=artifacts)
        else:
            self._experiment_id = experiment.experiment_id
        try:
            self._client.get_registered_model(config.model)
        except MlflowException:
            self._client.create_registered_model(config.model, description="Next-track recommender (FS-VAE).")

    def start(self, name: str, params: dict[str, Any], tags: dict[str, str] | None = None) -> str:
        """Start a run with its (nested) parameters and return its id; the tag PARENT nests it in another one."""
        run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        for key, value in _flat(params).items():
            self._client.log_param(run.info.run_id, key, value)
        return str(run.info.run_id)

    def resume(self, run_id: str) -> bool:
        """Mark an interrupted run as running again; returns whether the store knows the run."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True

    def find(self, tags: dict[str, str]) -> list[Found]:
        """Return the runs that have some tags, the newest first."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs, token = [], None
        while True:
            page = self._client.search_runs([self._experiment_id], query, page_token=token)
            runs += [Found(run.info.run_id, run.info.status == "FINISHED", dict(run.data.tags)) for run in page]
            token = page.token
            if not token:
                return runs

    def delete(self, run_id: str) -> None:
        """Delete a run."""
        self._client.delete_run(run_id)

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        """Mark a run as ended: FINISHED, FAILED, or KILLED by the user."""
        self._client.set_terminated(run_id, status)

    def lightning_logger(self, run_id: str, prefix: str = "") -> Any:
        """Return a Lightning logger that writes to a run, each metric as `<prefix>-<name>` if there is a prefix."""
        from pytorch_lightning.loggers import MLFlowLogger

        return MLFlowLogger(experiment_name=self._experiment, tracking_uri=self.uri, run_id=run_id, prefix=prefix)

    def log_metrics(self, run_id: str, metrics: dict[str, float]) -> None:
        """Log final metrics of a run."""
        for name, value in metrics.items():
            self._client.log_metric(run_id, _logged(name), value)

    def log_once(self, run_id: str, metrics: dict[str, float], step: int) -> None:
        """Log metrics of a step of a run, unless it has them."""
        there = {one.step for name in metrics for one in self._client.get_metric_history(run_id, _logged(name))}
        if step not in there:
            self.log_curves(run_id, [{"step": step} | {_logged(name): one for name, one in metrics.items()}], "step")

    def log_curves(self, run_id: str, rows: list[dict[str, Any]], step: str) -> None:
        """Log a row of metrics for each step; `step` is the column of its number. Values of None are skipped."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, row[step])
            for row in rows
            for name, value in row.items()
            if name != step and value is not None
        ]
        for begin in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics[begin : begin + _BATCH])

    def log_artifact(self, run_id: str, file: Path) -> None:
        """Log a file."""
        self._client.log_artifact(run_id, str(file))

    def log_artifacts(self, run_id: str, folder: Path, name: str) -> None:
        """Log a folder's files under a name."""
        self._client.log_artifacts(run_id, str(folder), name)

    def register(self, run_id: str, bundle: Path) -> int:
        """Store a bundle with its run and register it; the very first version becomes the champion.

        Returns:
            The new version, or the run's own if it is registered already.
        """
        version = self.version_of(run_id)  # a run killed after registering has one; aliases may be missing
        if version is None:
            self._client.log_artifacts(run_id, str(bundle), "bundle")
            source = f"{self._client.get_run(run_id).info.artifact_uri}/bundle"
            version = int(self._client.create_model_version(self._model, source, run_id).version)
        self._client.set_registered_model_alias(self._model, CHALLENGER, str(version))
        if self.champion() is None:
            self.make_champion(version)
        return version

    def run_of(self, version: int) -> str:
        """Return the id of the run that a version is of."""
        return str(self._client.get_model_version(self._model, str(version)).run_id)

    def version_of(self, run_id: str) -> int | None:
        """Return the version that a run is registered as, if it is."""
        versions = self._client.search_model_versions(f"name='{self._model}' and run_id='{run_id}'")
        return int(versions[0].version) if versions else None

    def versions(self) -> list[Version]:
        """Return all versions of the registered model, the first one first."""
        aliases = self._client.get_registered_model(self._model).aliases
        versions = []
        for found in self._client.search_model_versions(f"name='{self._model}'"):
            run = self._client.get_run(found.run_id)
            versions.append(
                Version(
                    number=int(found.version),
                    run=str(run.info.run_name),
                    aliases=sorted(alias for alias, version in aliases.items() if int(version) == int(found.version)),
                    registered_at=datetime.fromtimestamp(found.creation_timestamp / 1e3, UTC),
                    metrics={name.replace("_at_", "@"): value for name, value in run.data.metrics.items()},
                )
            )
        return sorted(versions, key=lambda version: version.number)

    def champion(self) -> int | None:
        """Return the version with the alias champion, if there is one."""
        return self._aliased(CHAMPION)

    def _aliased(self, alias: str) -> int | None:
        aliases = self._client.get_registered_model(self._model).aliases
        return int(aliases[alias]) if alias in aliases else None

    def make_champion(self, version: int) -> None:
        """Point the alias champion at a version, and the alias previous at the one that it was before."""
        before = self.champion()
        self._client.set_registered_model_alias(self._model, CHAMPION, str(version))
        if before not in (None, version):
            self._client.set_registered_model_alias(self._model, PREVIOUS, str(before))

    def roll_back(self) -> tuple[int, int]:
        """Make the version that was champion before the champion again, and mark the present one as rolled back.

        Returns:
            The champion, and the one that it was until now.

        Raises:
            UserError: no version was champion before.
        """
        before, now = self._aliased(PREVIOUS), self.resolve(None)
        if before in (None, now):
            raise UserError(f"{self.uri}: no version of the model '{self._model}' was champion before version {now}.")
        self._client.set_model_version_tag(self._model, str(now), _ROLLED_BACK, "true")
        self.make_champion(before)
        return before, now

    def was_rolled_back(self, version: int) -> bool:
        """Return whether a version was the champion until `roll_back` put another one in its place."""
        return _ROLLED_BACK in self._client.get_model_version(self._model, str(version)).tags

    def bundle(self, version: int) -> Path:
        """Return the folder of a version's bundle, downloaded where the store is not a local folder.

        Raises:
            UserError: there is no such version.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            source = self._client.get_model_version_download_uri(self._model, str(version))
        except MlflowException as error:
            raise UserError(f"{self.uri}: no version {version} of the model '{self._model}'.") from error
        return Path(mlflow.artifacts.download_artifacts(source))

    def resolve(self, version: int | None) -> int:
        """Return a version, or the champion's for None.

        Raises:
            UserError: no model has been registered yet.
        """
        version = version or self.champion()
        if version is None:
            raise UserError(f"{self.uri}: no champion of the model '{self._model}' yet. Train one: fsvae train.")
        return version


def git_commit() -> str:
    """Return the commit of the code, marked where files differ from it, or ``unknown`` outside a checkout."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _logged(name: str) -> str:
    """Return the name of a metric as MLflow allows it."""
    return name.replace("@", "_at_")


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
