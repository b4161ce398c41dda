"""The commands that run several verbs, and the one that prints the configuration: daily, quickstart, config."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Optional

import typer

from pipelines.cli.app import Overrides, app, serving, workspace_of


@app.command()
def daily(
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Last day (UTC) to learn from.")],
    overrides: Overrides = None,
) -> None:
    """Ingest what arrived, prepare, train, evaluate, and promote the model unless it is worse. Safe to run twice.

    Example (cron): [bold]fsvae daily --date $(date -u -d yesterday +%F) source=table source.path=/logs[/]
    """
    workspace = workspace_of(overrides)
    from pipelines.cli.console import Terminal
    from pipelines.lifecycle.daily import daily

    daily(workspace, date(day.year, day.month, day.day), Terminal())


@app.command()
def quickstart(
    overrides: Overrides = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the endpoint up until Ctrl-C.")] = False,
) -> None:
    """Simulate, prepare, train, evaluate, register, serve, and ask for one user's next tracks.

    Example: [bold]fsvae quickstart --keep-serving simulate.users=400[/]
    """
    workspace = workspace_of(overrides, "workdir=work/quickstart", "serve.port=0", "train.max_epochs=4")
    from pipelines.cli.quickstart import quickstart

    quickstart(workspace, serving, keep_serving)


@app.command()
def config(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads this at run time
        typer.Argument(metavar="[SECTION]... [KEY=VALUE]...", help="Sections to print, all by default; settings."),
    ] = None,
) -> None:
    """Print the configuration as it would be used, and what each key means.

    Example: [bold]fsvae config model=paper[/]

    Example: [bold]fsvae config train[/]
    """
    from pipelines.config.help import commented_yaml
    from pipelines.config.schema import Config

    arguments = arguments or []
    sections = [argument for argument in arguments if argument in Config.__dataclass_fields__]
    workspace = workspace_of([argument for argument in arguments if argument not in sections])
    typer.echo(commented_yaml(workspace.config, sections), nl=False)
