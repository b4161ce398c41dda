"""The commands on models: train, evaluate, latent, promote, runs, recommend, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from fsvae.errors import UserError
from pipelines.cli.app import Overrides, app, serving, workspace_of
from serving.serve_config import MAX_K


@app.command()
def train(overrides: Overrides = None) -> None:
    """Train FS-VAE on the prepared dataset; the same command again goes on where it stopped.

    Example: [bold]fsvae train model=paper train.max_epochs=3[/]
    """
    workspace = workspace_of(overrides)
    dataset, config = workspace.dataset(), workspace.config
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.train import train

    terminal = Terminal()
    what = (dataset, config.model, config.train, config.seed, workspace.runs)
    run = train(*what, workspace.tracker, terminal.epoch, terminal.interactive, terminal.resumed, terminal.refit)
    terminal.show(run)
    champion, here = workspace.tracker.champion(), workspace.override
    if champion != run.version:
        terminal.note(
            "train",
            f"version {run.version} is a challenger; version {champion} serves until: "
            f"fsvae evaluate{here} && fsvae promote{here}",
        )


@app.command()
def evaluate(
    overrides: Overrides = None,
    run: Annotated[str, typer.Option(help="Folder name of a run.", show_default="the latest")] = "",
) -> None:
    """Compare the trained model with the baselines on every position of the test period.

    Example: [bold]fsvae evaluate evaluate.live=true[/]

    A model that was trained with train.refit=false can be evaluated on the validation period:
    evaluate.period=validation.
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.evaluate import evaluate
    from pipelines.lifecycle.train import open_run

    found, config = open_run(workspace.runs, run), workspace.config
    aggregate = config.baselines.aggregate_sequence
    Terminal().show(evaluate(found, workspace.dataset(), config.evaluate, workspace.tracker, aggregate))


@app.command()
def latent(
    overrides: Overrides = None,
    run: Annotated[str, typer.Option(help="Folder name of a run.", show_default="the latest")] = "",
    users: Annotated[
        str, typer.Option(help="Whom to follow, with commas between.", show_default="those with most active days")
    ] = "",
    out: Annotated[
        Optional[Path],  # noqa: UP045  # Typer reads this at run time
        typer.Option(help="The HTML page; report/latent.html in the working folder by default."),
    ] = None,
) -> None:
    """Show the latent space of a trained model as one HTML page: maps, drift, neighbours, dimensions, anomalies.

    Example: [bold]fsvae latent --users u00042,u00007 workdir=work/quickstart[/]
    """
    workspace = workspace_of(overrides, allowed_overrides=("workdir", "datasets", "seed", "tracking")).trained()
    from fsvae.bundle import load_bundle
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.train import open_run
    from pipelines.reports.latent.compute import latent_figures
    from pipelines.reports.latent.latent_page import html, summary

    found, dataset, terminal = open_run(workspace.runs, run), workspace.dataset(), Terminal()
    chosen = [user.strip() for user in users.split(",") if user.strip()]
    with terminal.progress("latent") as told:
        what = latent_figures(
            found.folder.name, load_bundle(found.bundle), dataset, chosen, workspace.config.seed, told
        )
    out = out or workspace.root / "report" / "latent.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html(what), encoding="utf-8")
    for line in (*summary(what), f"maps, drift, dimensions and anomalies → {out}"):
        terminal.note("latent", line)


@app.command()
def promote(
    overrides: Overrides = None,
    version: Annotated[
        int, typer.Option(min=0, help="Version of the registered model.", show_default="the latest run's")
    ] = 0,
) -> None:
    """Make a version the champion unless it is worse than the present one on the same positions.

    Of two that cannot be told apart the one that has learned later listens is the champion.

    Example: [bold]fsvae promote --version 3[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.promote import promote
    from pipelines.lifecycle.train import open_run

    challenger = version or open_run(workspace.runs).version
    Terminal().show(promote(workspace.tracker, challenger, workspace.dataset(), workspace.config.promote, version > 0))


@app.command()
def rollback(overrides: Overrides = None) -> None:
    """Make the model that was the champion before the champion again; an endpoint follows by itself.

    Example: [bold]fsvae rollback workdir=work/quickstart[/]
    """
    allowed = ("workdir", "tracking")
    workspace = workspace_of(overrides, allowed_overrides=allowed, why="nothing else matters here.").trained()
    from pipelines.cli.console import Terminal

    champion, before = workspace.tracker.roll_back()
    Terminal().note("rollback", f"version {champion} is the champion again, in place of version {before}")


@app.command()
def runs(overrides: Overrides = None) -> None:
    """List the versions of the registered model: their runs, how good they are, and which one is served.

    Example: [bold]fsvae runs promote.metric=mrr[/]
    """
    workspace = workspace_of(overrides).trained()
    from fsvae.evaluation.metric_names import COLUMNS
    from fsvae.results_version import RESULTS_VERSION
    from pipelines.cli.console import Terminal
    from pipelines.runtime.table import Table

    config = workspace.config
    metric = config.promote.metric
    rows = []
    for version in workspace.tracker.versions():
        comparable = version.metrics.get("test/results_version") == RESULTS_VERSION
        figures = [version.metrics.get(f"test/{metric}") if comparable else None, version.metrics.get("val/l2")]
        rows.append(
            (
                str(version.number),
                ", ".join(version.aliases),
                version.run,
                version.registered_at.strftime("%Y-%m-%d %H:%M"),
                *("" if figure is None else f"{figure:.4f}" for figure in figures),
            )
        )
    headings = ("version", "alias", "run", "registered (UTC)", f"{COLUMNS[metric]}, test", "val/l2 at the end")
    Terminal().table(Table(f"model {config.tracking.model}", headings, rows, texts=(1, 2, 3)))


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
    from pipelines.config.compose import is_setting

    if is_setting(user_id):
        raise UserError(f"Say for which user, before the settings: fsvae recommend USER {user_id}")
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.recommend import recommend

    heard = [track.strip() for track in recent.split(",") if track.strip()]
    Terminal().show(recommend(workspace, user_id, heard, k, at))


@app.command()
def serve(overrides: Overrides = None) -> None:
    """Serve the champion over HTTP until Ctrl-C.

    Example: [bold]fsvae serve serve.port=8080 serve.replicas=2[/]
    """
    workspace = workspace_of(overrides).trained()
    from pipelines.cli.console import console
    from serving.app import wait

    with serving(workspace) as url:
        question = '{"user_id": "u00042", "k": 5}'
        for line in (
            f"Serving at {url}  (POST /v1/next-tracks, GET /healthz, docs at {url}/docs). Ctrl-C ends it.",
            f"Try: curl -s {url}/v1/next-tracks -H 'Content-Type: application/json' -d '{question}'",
        ):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        wait()
