"""A matrix in MLflow: a run for the whole, and nested in it one for each variant and seed. None is a registered model.

The process that runs the matrix writes them from the files of a trial when it has ended, so workers need no store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.ablation.run import Plan
from pipelines.ablation.variant import Trial
from pipelines.tracking import PARENT, Tracker, git_commit

_MATRIX, _TRIAL = "fsvae.matrix", "fsvae.trial"


class MatrixRecord:
    """The MLflow runs of a matrix; those of an interrupted matrix are continued."""

    def __init__(self, tracker: Tracker, plan: Plan) -> None:
        """Start the run of the whole matrix, or find it."""
        self._tracker = tracker
        self._plan = plan
        matrix = plan.matrix
        found = tracker.find({_MATRIX: plan.folder.name})
        if found:
            self.run_id = found[0].run_id
            tracker.resume(self.run_id)
        else:
            params = {
                "ablation": matrix.name,
                "reference": matrix.reference,
                "period": matrix.config.evaluate.period,
                "seeds": matrix.config.seeds,
                "command": matrix.command,
                "git_commit": git_commit(),
            }
            self.run_id = tracker.start(f"ablation {matrix.name}", params, {_MATRIX: plan.folder.name})
        self._logged = set()
        for child in tracker.find({PARENT: self.run_id}):
            if child.finished:
                self._logged.add(child.tags[_TRIAL])
            else:  # the process was killed while writing it
                tracker.delete(child.run_id)

    def log(self) -> None:
        """Record all finished trials that are not recorded yet."""
        for variant, trials in self._plan.trials.items():
            for trial in trials:
                name = f"{variant}, seed {trial.seed}"
                if name not in self._logged and trial.stored.done:
                    self._write(name, variant, trial)
                    self._logged.add(name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record how this context ends: FINISHED, KILLED (by Ctrl-C), or FAILED."""
        try:
            yield
        except KeyboardInterrupt:
            self._finish("KILLED")
            raise
        except Exception:
            self._finish("FAILED")
            raise
        self._finish("FINISHED")

    def _finish(self, status: str) -> None:
        for report in self._plan.folder.glob("report.*"):
            self._tracker.log_artifact(self.run_id, report)
        self._tracker.finish(self.run_id, status)

    def _write(self, name: str, variant: str, trial: Trial) -> None:
        period, summary, curves = (
            self._plan.matrix.config.evaluate.period,
            trial.stored.summary(),
            trial.stored.curves(),
        )
        run_id = self._tracker.start(name, {"variant": variant, **trial.made_of}, {PARENT: self.run_id, _TRIAL: name})
        if curves is not None:
            self._tracker.log_curves(run_id, curves.rows(named=True), step="epoch")
        metrics = {f"{period}/{metric}": value for metric, value in summary.pop("metrics").items()}
        self._tracker.log_metrics(run_id, {**metrics, **summary})
        self._tracker.finish(run_id)
