"""Ablate: train, compare and report a matrix of models, as far as it is not done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsvae.errors import UserError
from pipelines.ablation.findings import findings, latent_findings, notes
from pipelines.ablation.matrix import Matrix
from pipelines.ablation.matrix_page import write_report
from pipelines.ablation.matrix_results import MatrixResults, read_results, twins
from pipelines.ablation.records import MatrixRecord
from pipelines.ablation.run import Plan, delete_old_trials, plan_of, run_plan, write_plan
from pipelines.ablation.variant import Ended, Trial
from pipelines.ablation.variant_datasets import delete_old_datasets, variant_datasets
from pipelines.reports.words import count
from pipelines.runtime.engine import Engine, engine_of
from pipelines.runtime.locks import held
from pipelines.runtime.table import Table
from pipelines.runtime.watch import Summary, Watch
from pipelines.tuning.record import tuned_runs
from pipelines.workspace import Workspace


@dataclass(frozen=True)
class Report(Summary):
    """The report of a matrix."""

    page: Path
    results: MatrixResults
    verb = "report"

    def lines(self) -> list[str]:
        """Return the findings of the matrix, and the path of the page."""
        results, record = self.results, self.results.record
        return [
            f"{record['name']}, {record['period']} period, dataset {results.dataset.fingerprint}: {self.page}",
            *notes(results),
            *findings(results),
            *latent_findings(results),
        ]


def report(folder: Path, workspace: Workspace) -> Report:
    """Write the report of the matrix in a folder, over the runs that are done."""
    results = read_results(folder, workspace.variants, workspace.datasets)
    return Report(write_report(results), results)


def ablate(matrix: Matrix, workspace: Workspace, watch: Watch) -> Report | None:
    """Run the missing trials of a matrix, log them, and write its report; None where no run of the reference is done.

    Args:
        matrix: the matrix.
        workspace: workspace of the lake, the datasets and the results.
        watch: listener to the overview of the matrix, each run, and the report.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how much of the matrix is done.
        UserError: a run failed, or a worker was killed.
    """
    with (
        engine_of(matrix.config.engine) as engine,
        variant_datasets(
            matrix.variants,
            workspace.lake(),
            workspace.datasets,
            engine,
            lambda what: watch.note("prepare", what),
        ) as datasets,
    ):
        plan = plan_of(matrix, datasets, workspace.variants, workspace.matrices)
        with held(plan.folder, "run of this very matrix"):
            for variant, same in twins(write_plan(plan)):
                watch.warn(f"'{variant}' and '{same}' are one model: no setting differs that it reads.")
            _clean_up(workspace, watch)
            watch.table(_overview(plan))
            record = MatrixRecord(workspace.tracker, plan)
            with record.running():
                left = len(plan.left)
                failed, ended_early = _run_what_is_left(plan, engine, record, watch)
                found = None
                if any(trial.stored.done for trial in plan.trials[matrix.reference]):
                    found = report(plan.folder, workspace)
                    watch.show(found)
                if ended_early:
                    raise ended_early
                if failed:
                    raise UserError(
                        f"{len(failed)} of {count(left, 'run')} failed ({', '.join(sorted(set(failed)))}); see above. "
                        "The same command runs them again."
                    )
                return found


def _clean_up(workspace: Workspace, watch: Watch) -> None:
    """Delete the data of matrices older than the newest ones; the plan of the present one is written already."""
    keep = workspace.config.ablation.keep
    deleted = delete_old_trials(workspace.matrices, workspace.variants, keep, tuned_runs(workspace.tunings))
    if deleted:
        watch.note("clean-up", f"{count(deleted, 'run')} of older matrices deleted (ablation.keep={keep})")
    delete_old_datasets(workspace.datasets, keep)


def _run_what_is_left(
    plan: Plan, engine: Engine, record: MatrixRecord, watch: Watch
) -> tuple[list[str], UserError | None]:
    """Run the missing trials of a matrix; return the variants that failed, and the error that ended it early."""
    record.log()
    left = len(plan.left)
    names = {trial.name: variant for variant, trials in reversed(plan.trials.items()) for trial in trials}
    failed: list[str] = []
    ended_trials = 0
    with watch.progress("ablate") as told:

        def on_end(trial: Trial, ended: Ended) -> None:
            nonlocal ended_trials
            ended_trials += 1
            told(f"{ended_trials} of {left}", ended_trials / left)
            watch.note("", _line(names[trial.name], trial, ended))
            if ended.error:
                failed.append(names[trial.name])
            record.log()

        try:
            run_plan(plan, engine, on_end)
        except KeyboardInterrupt as interrupt:
            done = sum(trial.stored.done for trial in plan.to_run)
            raise KeyboardInterrupt(
                f"interrupted with {done} of {count(len(plan.to_run), 'run')} done; the same command goes on"
            ) from interrupt
        except UserError as error:  # a worker was killed: the finished runs are reported all the same
            return failed, error
    return failed, None


def _overview(plan: Plan) -> Table:
    """Return the variants of a matrix and how many of their runs are done."""
    matrix, rows = plan.matrix, []
    for variant in matrix.variants:
        trials = plan.trials[variant.name]
        done = sum(trial.stored.done for trial in trials)
        name = f"{variant.name} (reference)" if variant.name == matrix.reference else variant.name
        seeds = " ".join(str(trial.seed) for trial in trials)
        rows.append((name, " ".join(variant.settings), seeds, f"{done} of {len(trials)}"))
    return Table(matrix.config.ablation.title, ("variant", "what differs", "seeds", "done"), rows, texts=(1, 2, 3))


def _line(variant: str, trial: Trial, ended: Ended) -> str:
    where = f"{variant}, seed {trial.seed}: "
    if ended.error:
        return f"{where}failed {ended.error}"
    metrics = trial.stored.summary()["metrics"]
    return (
        f"{where}L2 {metrics['l2']:.4f}  cosine {metrics['cosine']:.4f}  R@10 {metrics['recall@10']:.4f}  "
        f"{ended.seconds:.0f} s"
    )
