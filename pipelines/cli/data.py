"""The commands on data: simulate, ingest, prepare, describe."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from fsvae.errors import UserError
from pipelines.cli.app import Overrides, app, workspace_of

if TYPE_CHECKING:
    from pipelines.workspace import Workspace


@app.command()
def simulate(overrides: Overrides = None) -> None:
    """Write a simulated listening log.

    Example: [bold]fsvae simulate simulate.users=2000 simulate.seed=3[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import Terminal
    from pipelines.simulation.simulate import simulate

    terminal = Terminal()
    with terminal.progress("simulate") as told:
        summary = simulate(workspace.config.simulate, workspace.raw, told)
    terminal.show(summary)


@app.command()
def ingest(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads this at run time
        typer.Argument(metavar="[PATH] [KEY=VALUE]...", help="A log or a folder of logs, then settings."),
    ] = None,
    source: Annotated[
        str, typer.Option(help="What kind of log; a wrong name lists all, and live takes what was posted.")
    ] = "events",
) -> None:
    """Take listening logs into the lake; without a path, the simulated one.

    Example: [bold]fsvae ingest --source jodie lastfm.csv[/]

    Example: [bold]fsvae ingest --source table plays.csv 'source.columns={user_id: user, track_id: song}'[/]

    Example: [bold]fsvae ingest --source live[/] (what was posted to the endpoint since the last time)
    """
    arguments = arguments or []
    paths = [argument for argument in arguments if "=" not in argument or Path(argument).exists()]
    overrides = [argument for argument in arguments if argument not in paths]
    if len(paths) > 1:
        raise UserError(f"ingest takes one path, and was given {len(paths)}: {', '.join(paths)}.")
    if source == "live":
        if paths:
            raise UserError(f"ingest --source live reads what was posted to the endpoint, no path: {paths[0]}.")
        _ingest_live(workspace_of(overrides))
        return
    workspace = workspace_of(overrides, f"source={source}")
    if paths:
        workspace.config.source.path = paths[0]
    if not workspace.config.source.path:
        raise UserError(f"Say which log to read: fsvae ingest --source {source} PATH.")
    from pipelines.cli.console import Terminal
    from pipelines.ingest.ingest import ingest

    terminal = Terminal()
    with terminal.progress("ingest") as told:
        summary = ingest(workspace.lake(), workspace.config.source, told)
    terminal.show(summary)


def _ingest_live(workspace: Workspace) -> None:
    from pipelines.cli.console import Terminal
    from pipelines.ingest.live import ingest_live

    terminal = Terminal()
    with closing(workspace.store()) as store, terminal.progress("ingest") as told:
        summary = ingest_live(workspace.lake(), store, workspace.store_name, told)
    terminal.show(summary)


@app.command()
def prepare(overrides: Overrides = None) -> None:
    """Make the prepared dataset from the lake: catalogue, track vectors, sequences, slow snapshots.

    Example: [bold]fsvae prepare dataset.min_count=10[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import Terminal
    from pipelines.prepare.prepare import prepare
    from pipelines.runtime.engine import engine_of

    terminal, config = Terminal(), workspace.config
    with terminal.progress("prepare") as told, engine_of(config.engine) as engine:
        prepared = prepare(workspace.lake(), config.dataset, config.seed, workspace.datasets, told, engine)
    terminal.show(prepared)


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
    from rich.box import SIMPLE_HEAD
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    from fsvae.prepare.dataset_files import current_dataset
    from pipelines.cli.console import Terminal, console, drawn
    from pipelines.prepare.datasets import dataset_in_use
    from pipelines.reports.describe.describe_dataset import describe_dataset
    from pipelines.reports.describe.describe_lake import describe_lake
    from pipelines.reports.describe.log_tables import tables

    found, terminal = [], Terminal()
    with terminal.progress("describe") as told:
        if what != "dataset":
            found.append(describe_lake(workspace.lake(), lambda done, of: told("lake", done / max(of, 1))))
        if what == "dataset" or (not what and current_dataset(workspace.datasets)):
            with dataset_in_use(workspace.datasets) as dataset:
                found.append(describe_dataset(*dataset, lambda done, of: told("dataset", done / max(of, 1))))
        from pipelines.reports.describe.log_page import html  # imports matplotlib

        page = html(found)
    out = out or workspace.root / "report" / f"{what or 'lake'}.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    for description in found:
        console.rule(Text.assemble((description.what, "bold"), f"  {description.where}"), align="left")
        # Tables with two columns are narrow and are printed side by side.
        for narrow, group in groupby(tables(description), key=lambda figures: len(figures.headings) == 2):
            shown = []
            for figures in group:
                shown.append(drawn(figures, SIMPLE_HEAD))
                shown[-1].title, shown[-1].caption = Text(figures.title), Text(figures.note)
                shown[-1].caption_justify = "left"
            console.print(Columns(shown, padding=(0, 4)) if narrow else Group(*shown))
    terminal.note("describe", f"the same with plots → {out}")
