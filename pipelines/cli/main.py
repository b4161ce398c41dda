"""The command line. Each command is a verb; settings go behind it as Hydra overrides (key=value)."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer
from rich.console import Console
from rich.markup import escape

from fsvae.errors import UserError
from pipelines.cli.app import Overrides, app, workspace_of
from serving.serve_config import MAX_K

if TYPE_CHECKING:  # the commands import what they need when they run: --help answers at once
    from pipelines.workspace import Workspace


@app.command()
def simulate(overrides: Overrides = None) -> None:
    """Write a simulated listening log.

    Example: [bold]fsvae simulate simulate.users=2000 simulate.seed=3[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import run_simulate

    run_simulate(workspace)


@app.command()
def ingest(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[PATH] [KEY=VALUE]...", help="A log or a folder of logs, then settings."),
    ] = None,
    source: Annotated[str, typer.Option(help="What kind of log; a wrong name lists all.")] = "events",
) -> None:
    """Take listening logs into the lake; without a path, the simulated one.

    Example: [bold]fsvae ingest --source jodie lastfm.csv[/]

    Example: [bold]fsvae ingest --source table plays.csv 'source.columns={user_id: user, track_id: song}'[/]
    """
    arguments = arguments or []
    paths = [argument for argument in arguments if "=" not in argument or Path(argument).exists()]
    overrides = [argument for argument in arguments if argument not in paths]
    if len(paths) > 1:
        raise UserError(f"ingest takes one path, and was given {len(paths)}: {', '.join(paths)}.")
    workspace = workspace_of(overrides, f"source={source}")
    if paths:
        workspace.config.source.path = paths[0]
    if not workspace.config.source.path:
        raise UserError(f"Say which log to read: fsvae ingest --source {source} PATH.")
    from pipelines.cli.console import run_ingest

    run_ingest(workspace)


@app.command()
def prepare(overrides: Overrides = None) -> None:
    """Make the prepared dataset from the lake: catalogue, track vectors, sequences, slow snapshots.

    Example: [bold]fsvae prepare dataset.min_count=10[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import run_prepare

    run_prepare(workspace)


@app.command()
def describe(
    overrides: Overrides = None,
    what: Annotated[
        Optional[Literal["lake", "dataset"]],  # noqa: UP045
        typer.Option(help="Only the lake, or only the newest dataset."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The HTML page; report/lake.html (or dataset.html) in the working folder by default."),
    ] = None,
) -> None:
    """Say what is in the lake and the newest dataset: here, and as one HTML page with plots.

    Example: [bold]fsvae describe --what dataset --out dataset.html workdir=work/quickstart[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import run_describe

    run_describe(workspace, what or "", out)


@app.command()
def train(overrides: Overrides = None) -> None:
    """Train FS-VAE on the prepared dataset; the same command again goes on where it stopped.

    Example: [bold]fsvae train model=paper train.max_epochs=3[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import run_train, say_what_serves

    say_what_serves(workspace, run_train(workspace, workspace.dataset()))


@app.command()
def evaluate(
    overrides: Overrides = None,
    run: Annotated[str, typer.Option(help="Folder name of a run.", show_default="the latest")] = "",
) -> None:
    """Compare the trained model with the baselines on every position of the test period.

    Example: [bold]fsvae evaluate evaluate.period=validation[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import run_evaluate
    from pipelines.lifecycle.train import open_run

    run_evaluate(workspace, open_run(workspace.runs, run), workspace.dataset())


@app.command()
def latent(
    overrides: Overrides = None,
    run: Annotated[str, typer.Option(help="Folder name of a run.", show_default="the latest")] = "",
    users: Annotated[
        str, typer.Option(help="Whom to follow, with commas between.", show_default="those with most active days")
    ] = "",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The HTML page; report/latent.html in the working folder by default."),
    ] = None,
) -> None:
    """Show the latent space of a trained model as one HTML page: maps, drift, neighbours, dimensions, surprises.

    Example: [bold]fsvae latent --users u00042,u00007 workdir=work/quickstart[/]
    """
    workspace = workspace_of(overrides, allowed_overrides=("workdir", "datasets", "seed", "tracking")).trained()
    from pipelines.cli.console import run_latent
    from pipelines.lifecycle.train import open_run

    chosen = [user.strip() for user in users.split(",") if user.strip()]
    run_latent(workspace, open_run(workspace.runs, run), workspace.dataset(), chosen, out)


@app.command()
def ablate(overrides: Overrides = None) -> None:
    """Train and compare the models of a matrix (configs/ablation/), each with every seed; goes on where it stopped.

    Example: [bold]fsvae ablate ablation=paper 'seeds=[1,2,3]'[/]
    """
    from pipelines.cli.ablation import run_ablate

    run_ablate(overrides or [])


@app.command()
def report(overrides: Overrides = None) -> None:
    """Write the report of a matrix, as far as it is done: of the last one, or the last of a name or on a period.

    Example: [bold]fsvae report ablation=paper[/]
    """
    from pipelines.cli.ablation import run_report

    run_report(overrides or [])


@app.command()
def promote(
    overrides: Overrides = None,
    version: Annotated[
        int, typer.Option(min=0, help="Version of the registered model.", show_default="the latest run's")
    ] = 0,
) -> None:
    """Make a version the champion if it is better than the present one on the same positions.

    Example: [bold]fsvae promote --version 3[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import run_promote
    from pipelines.lifecycle.train import open_run

    run_promote(workspace, version or open_run(workspace.runs).version, workspace.dataset())


@app.command()
def runs(overrides: Overrides = None) -> None:
    """List the versions of the registered model: their runs, how good they are, and which one is served.

    Example: [bold]fsvae runs promote.metric=mrr[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import list_runs

    list_runs(workspace)


@app.command()
def recommend(
    user_id: Annotated[str, typer.Argument(help="A user of the training data, or anyone else.")],
    overrides: Overrides = None,
    recent: Annotated[str, typer.Option(help="Track ids just heard, oldest first, with commas between.")] = "",
    k: Annotated[int, typer.Option(min=1, max=MAX_K, help="How many tracks.")] = 10,
    at: Annotated[
        str, typer.Option(help="Time of the request, ISO 8601 with a time zone.", metavar="TIME", show_default="now")
    ] = "",
) -> None:
    """Print the next tracks for a user, from the champion (serve.version=N for another).

    Example: [bold]fsvae recommend u00042 --recent t000017,t000018 --k 5[/]

    Example: [bold]fsvae recommend u00042 --at 2026-02-01T20:00:00+01:00[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.recommend import recommend as run_recommend

    run_recommend(workspace, user_id, [track.strip() for track in recent.split(",") if track.strip()], k, at)


@app.command()
def serve(overrides: Overrides = None) -> None:
    """Serve the champion over HTTP until Ctrl-C.

    Example: [bold]fsvae serve serve.port=8080 serve.replicas=2[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import console
    from serving.app import wait

    with _serving(workspace) as url:
        console.print(f"Serving at {url}  (POST /v1/next-tracks, GET /healthz, docs at {url}/docs). Ctrl-C ends it.")
        question = '{"user_id": "u00042", "k": 5}'
        console.print(f"Try: curl -s {url}/v1/next-tracks -H 'Content-Type: application/json' -d '{question}'")
        wait()


@app.command()
def daily(
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Last day (UTC) to learn from.")],
    overrides: Overrides = None,
) -> None:
    """Ingest what arrived, prepare, train, evaluate, and promote the model if it is better. Safe to run twice.

    Example (cron): [bold]fsvae daily --date $(date -u -d yesterday +%F) source=table source.path=/logs[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.lifecycle.daily import daily as run_daily

    run_daily(workspace, date(day.year, day.month, day.day))


@app.command()
def quickstart(
    overrides: Overrides = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the endpoint up until Ctrl-C.")] = False,
) -> None:
    """Simulate, prepare, train, evaluate, register, serve, and ask for one user's next tracks.

    Example: [bold]fsvae quickstart --keep-serving simulate.users=400[/]
    """
    workspace = workspace_of(overrides, "workdir=work/quickstart", "serve.port=0", "train.max_epochs=4")
    from pipelines.cli.quickstart import quickstart as run_quickstart
    from serving.app import ask, wait

    run_quickstart(workspace, _serving, ask, wait if keep_serving else None)


@app.command()
def config(overrides: Overrides = None) -> None:
    """Print the whole configuration as it would be used, and what each key means.

    Example: [bold]fsvae config model=paper[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.config.help import commented_yaml

    typer.echo(commented_yaml(workspace.config), nl=False)


def _serving(workspace: Workspace) -> AbstractContextManager[str]:
    from serving.app import running

    tracker, settings = workspace.tracker, workspace.config.serve
    version = tracker.resolve(settings.version or None)
    return running(settings, tracker.bundle(version), f"{workspace.config.tracking.model}/{version}")


def main() -> None:
    """Run the command line; what the user can mend is one clear message and exit status 2."""
    # Torch's threads wait for each other at every step of an LSTM: with a busy neighbour, two are dozens of times
    # slower than one (docs/decisions.md). Read when torch is imported: no command has yet.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[bold red]error[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
