"""The command line. Each command is a verb; settings go behind it as Hydra overrides (key=value)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer
from rich.console import Console
from rich.markup import escape

from fsvae.errors import UserError

if TYPE_CHECKING:  # the commands import what they need when they run: --help answers at once
    from pipelines.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="FS-VAE: from raw listening logs to a live next-track endpoint. Start with [bold]fsvae quickstart[/].",
)
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045  # Typer reads this at run time
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings, for example seed=2 (all of them: fsvae config)."),
]


def _workspace(overrides: list[str] | None, *more: str) -> Workspace:
    from pipelines.config import load_config
    from pipelines.workspace import Workspace

    return Workspace(load_config([*more, *(overrides or [])]))


@app.command()
def simulate(overrides: Overrides = None) -> None:
    """Write a simulated listening log.

    Example: [bold]fsvae simulate simulate.users=2000 simulate.seed=3[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import run_simulate

    run_simulate(workspace)


@app.command()
def ingest(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[PATH] [KEY=VALUE]...", help="A log or a folder of logs, then settings."),
    ] = None,
    source: Annotated[str, typer.Option(help="What kind of log: events, table, jodie.")] = "events",
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
    workspace = _workspace(overrides, f"source={source}")
    if paths:
        workspace.config.source.path = paths[0]
    if not workspace.config.source.path:
        raise UserError(f"Say which log to read: fsvae ingest --source {source} PATH.")
    from pipelines.steps import run_ingest

    run_ingest(workspace)


@app.command()
def prepare(overrides: Overrides = None) -> None:
    """Make the prepared dataset from the lake: catalogue, track vectors, sequences, slow snapshots.

    Example: [bold]fsvae prepare dataset.min_count=10[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import run_prepare

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
    workspace = _workspace(overrides)
    from pipelines.steps import run_describe

    run_describe(workspace, what or "", out)


@app.command()
def train(overrides: Overrides = None) -> None:
    """Train FS-VAE on the prepared dataset; the same command again goes on where it stopped.

    Example: [bold]fsvae train model=paper train.max_epochs=3[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import run_train

    run_train(workspace, workspace.dataset())


@app.command()
def evaluate(
    overrides: Overrides = None,
    run: Annotated[str, typer.Option(help="Folder name of a run; the latest by default.")] = "",
) -> None:
    """Compare the trained model with the baselines on every position of the test period.

    Example: [bold]fsvae evaluate evaluate.period=validation[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import run_evaluate
    from pipelines.train import open_run

    run_evaluate(workspace, open_run(workspace.runs, run), workspace.dataset())


@app.command()
def promote(
    overrides: Overrides = None,
    version: Annotated[int, typer.Option(help="Version of the registered model; the latest run's by default.")] = 0,
) -> None:
    """Make a version the champion if it is better than the present one on the same positions.

    Example: [bold]fsvae promote --version 3[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import run_promote
    from pipelines.train import open_run

    run_promote(workspace, version or open_run(workspace.runs).version, workspace.dataset())


@app.command()
def recommend(
    user_id: Annotated[str, typer.Argument(help="A user of the training data, or anyone else.")],
    overrides: Overrides = None,
    recent: Annotated[str, typer.Option(help="Track ids just heard, oldest first, with commas between.")] = "",
    k: Annotated[int, typer.Option(min=1, help="How many tracks.")] = 10,
) -> None:
    """Print the next tracks for a user, from the champion (serve.version=N for another).

    Example: [bold]fsvae recommend u00042 --recent t000017,t000018 --k 5[/]
    """
    workspace = _workspace(overrides)
    from rich.table import Table

    from fsvae.bundle import load_bundle
    from pipelines.steps import console
    from serving.recommender import OnlineRecommender, RecentListen

    version = workspace.tracker.resolve(workspace.config.serve.version or None)
    recommender = OnlineRecommender(
        load_bundle(workspace.tracker.bundle(version)), workspace.config.serve.approximate_from
    )
    listens = [RecentListen(track_id.strip()) for track_id in recent.split(",") if track_id.strip()]
    answer = recommender.next_tracks(user_id, listens, k, time.time_ns() // 1000)
    table = Table(title=f"next tracks for {user_id}, model version {version}", title_justify="left")
    for heading in ("track", "score", "title", "artist"):
        table.add_column(heading)
    for track in answer.tracks:
        table.add_row(track.track_id, f"{track.score:.3f}", track.title or "", track.artist or "")
    console.print(table)
    if not answer.known_user:
        console.print(f"{user_id} is not in the training data: these rest on the recent listens and the hour alone.")
    if answer.unknown_tracks:
        console.print(f"Not in the catalogue: {', '.join(answer.unknown_tracks)}.")


@app.command()
def serve(overrides: Overrides = None) -> None:
    """Serve the champion over HTTP until Ctrl-C.

    Example: [bold]fsvae serve serve.port=8080 serve.replicas=2[/]
    """
    workspace = _workspace(overrides)
    from pipelines.steps import console

    with _serving(workspace) as url:
        console.print(f"Serving at {url}  (POST /v1/next-tracks, GET /healthz, docs at {url}/docs). Ctrl-C ends it.")
        question = '{"user_id": "u00042", "k": 5}'
        console.print(f"Try: curl -s {url}/v1/next-tracks -H 'Content-Type: application/json' -d '{question}'")
        _wait()


@app.command()
def daily(
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Last day (UTC) to learn from.")],
    overrides: Overrides = None,
) -> None:
    """Ingest what arrived, prepare, train, evaluate, and promote the model if it is better. Safe to run twice.

    Example (cron): [bold]fsvae daily --date $(date -u -d yesterday +%F) source=table source.path=/logs[/]
    """
    workspace = _workspace(overrides)
    from pipelines.daily import daily as run_daily

    run_daily(workspace, date(day.year, day.month, day.day))


@app.command()
def quickstart(
    overrides: Overrides = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the endpoint up until Ctrl-C.")] = False,
) -> None:
    """Simulate, prepare, train, evaluate, register, serve, and ask for one user's next tracks.

    Example: [bold]fsvae quickstart --keep-serving simulate.users=400[/]
    """
    workspace = _workspace(overrides, "workdir=work/quickstart", "serve.port=0", "train.max_epochs=5")
    from pipelines.quickstart import quickstart as run_quickstart
    from serving.app import ask

    run_quickstart(workspace, _serving, ask, _wait if keep_serving else None)


@app.command()
def config(overrides: Overrides = None) -> None:
    """Print the whole configuration as it would be used.

    Example: [bold]fsvae config model=paper[/]
    """
    from omegaconf import OmegaConf

    workspace = _workspace(overrides)
    Console().print(OmegaConf.to_yaml(OmegaConf.structured(workspace.config)), highlight=False)


def _serving(workspace: Workspace) -> AbstractContextManager[str]:
    from serving.app import running

    tracker, settings = workspace.tracker, workspace.config.serve
    version = tracker.resolve(settings.version or None)
    return running(settings, tracker.bundle(version), f"{workspace.config.tracking.model}/{version}")


def _wait() -> None:
    """Return when the process is asked to end (Ctrl-C, or a supervisor's SIGTERM)."""
    asked = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: asked.set())
    asked.wait()


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
