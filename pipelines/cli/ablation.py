"""The verbs `fsvae ablate` and `fsvae report` as a person sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fsvae.errors import UserError
from pipelines.ablation.findings import findings, latent_findings, notes
from pipelines.ablation.matrix import matrix_name, matrix_of
from pipelines.ablation.matrix_page import write_report
from pipelines.ablation.matrix_results import find_matrix, read_results, twins
from pipelines.ablation.records import MatrixRecord
from pipelines.ablation.run import Plan, delete_old_trials, plan_of, run_plan, write_plan
from pipelines.ablation.variant import Ended, Trial
from pipelines.ablation.variant_datasets import delete_old_datasets, variant_datasets
from pipelines.cli.console import console
from pipelines.config.compose import check_allowed_overrides, key_of, load_config
from pipelines.reports.words import count
from pipelines.runtime.engine import Engine, engine_of
from pipelines.runtime.locks import held
from pipelines.workspace import Workspace

_OF_A_REPORT = ("evaluate.period", "workdir", "datasets", "lake")
"""The settings that say which matrix a report is of."""


def run_ablate(overrides: Sequence[str]) -> None:
    """Say what is in a matrix, run what is not done of it, log it, and write its report."""
    matrix = matrix_of(overrides)
    workspace = Workspace(matrix.config)
    with (
        engine_of(matrix.config.engine) as engine,
        variant_datasets(
            matrix.variants,
            workspace.lake(),
            workspace.datasets,
            engine,
            lambda what: console.print(f"[bold]prepare[/]   {escape(what)}"),
        ) as datasets,
    ):
        plan = plan_of(matrix, datasets, workspace.variants, workspace.matrices)
        with held(plan.folder, "run of this very matrix"):
            for variant, same in twins(write_plan(plan)):
                console.print(
                    f"[bold yellow]'{escape(variant)}' and '{escape(same)}' are one model[/]: no setting differs "
                    "that it reads.",
                    highlight=False,
                )
            _clean_up(workspace)
            console.print(_overview(plan))
            record = MatrixRecord(workspace.tracker, plan)
            with record.running():
                left = len([trial for trial in plan.to_run if not trial.stored.done])
                failed, ended_early = _run_what_is_left(plan, engine, record)
                if any(trial.stored.done for trial in plan.trials[matrix.reference]):
                    console.print(f"[bold]report[/]    {_write_report(workspace, plan.folder)}")
                if ended_early:
                    raise ended_early
                if failed:
                    raise UserError(
                        f"{len(failed)} of {count(left, 'run')} failed ({', '.join(sorted(set(failed)))}); see above. "
                        "The same command runs them again."
                    )


def _clean_up(workspace: Workspace) -> None:
    """Delete what only matrices have that are older than the newest ones; the plan of the present one is written."""
    keep = workspace.config.ablation.keep
    deleted = delete_old_trials(workspace.matrices, workspace.variants, keep)
    if deleted:
        console.print(f"[bold]clean-up[/]  {count(deleted, 'run')} of older matrices deleted (ablation.keep={keep})")
    delete_old_datasets(workspace.datasets, keep)


def _run_what_is_left(plan: Plan, engine: Engine, record: MatrixRecord) -> tuple[list[str], UserError | None]:
    """Run what is not done of a matrix, a line each; return the variants that failed, and what ended the whole early.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how far the matrix is.
    """
    record.log()
    left = [trial for trial in plan.to_run if not trial.stored.done]
    names = {trial.name: variant for variant, trials in reversed(plan.trials.items()) for trial in trials}
    failed: list[str] = []
    with _progress() as bar:
        task = bar.add_task("ablate", total=len(left))

        def on_end(trial: Trial, ended: Ended) -> None:
            bar.update(task)
            console.print(_line(names[trial.name], trial, ended), highlight=False, soft_wrap=True)
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
        except UserError as error:  # a worker was killed: what is done is told all the same
            return failed, error
    return failed, None


def run_report(overrides: Sequence[str]) -> None:
    """Write the report of a matrix anew, as far as it is done: the last one, or the last of a name or on a period.

    Raises:
        UserError: there is no such matrix, or a setting is given that says not which.
    """
    settings = [text for text in overrides if key_of(text) != "ablation"]  # the name of a matrix that was run will do
    why = "a report shows what was run, ablation=NAME says which; to run it with other settings: fsvae ablate."
    check_allowed_overrides(settings, _OF_A_REPORT, why)
    workspace = Workspace(load_config(settings))
    period = workspace.config.evaluate.period if "evaluate.period" in map(key_of, settings) else ""
    matrix = find_matrix(workspace.matrices, matrix_name(overrides), period)
    console.print(f"[bold]report[/]    {_write_report(workspace, matrix)}")


def _write_report(workspace: Workspace, matrix: Path) -> Path:
    results = read_results(matrix, workspace.variants, workspace.datasets)
    which = f"{results.record['name']}, {results.record['period']} period, dataset {results.dataset.fingerprint}:"
    console.print(f"          {which}", highlight=False, markup=False, soft_wrap=True)
    for finding in [*notes(results), *findings(results), *latent_findings(results)]:
        console.print(f"          {finding}", highlight=False, markup=False, soft_wrap=True)
    return write_report(results)


def _overview(plan: Plan) -> Table:
    """Return what is in a matrix and how much of it is done."""
    matrix = plan.matrix
    table = Table(title=escape(matrix.config.ablation.title), title_justify="left")
    for heading in ("variant", "what differs", "seeds", "done"):
        table.add_column(heading)
    for variant in matrix.variants:
        trials = plan.trials[variant.name]
        done = sum(trial.stored.done for trial in trials)
        name = f"{variant.name} (reference)" if variant.name == matrix.reference else variant.name
        seeds = " ".join(str(trial.seed) for trial in trials)
        table.add_row(escape(name), escape(" ".join(variant.settings)), seeds, f"{done} of {len(trials)}")
    return table


def _line(variant: str, trial: Trial, ended: Ended) -> str:
    where = f"          {escape(variant)}, seed {trial.seed}: "
    if ended.error:
        return f"{where}[bold red]failed[/] {escape(ended.error)}"
    metrics = trial.stored.summary()["metrics"]
    return (
        f"{where}L2 {metrics['l2']:.4f}  cosine {metrics['cosine']:.4f}  R@10 {metrics['recall@10']:.4f}  "
        f"{ended.seconds:.0f} s"
    )


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
