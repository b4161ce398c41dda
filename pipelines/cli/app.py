"""The common part of all commands, with Ctrl-C and --version."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from typer.core import TyperGroup

if TYPE_CHECKING:
    from pipelines.workspace import Workspace


class Commands(TyperGroup):
    """The commands; an interruption by Ctrl-C is reported in one line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # Typer's own class is private
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # Typer would end without a message
            words = str(interrupt) or "interrupted; run the same command again"
            Console(stderr=True).print(words, highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=Commands,
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


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fsvae {version_of('fsvae')}")
        raise typer.Exit


@app.callback()
def _fsvae(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def workspace_of(overrides: list[str] | None, *more: str, allowed_overrides: Collection[str] = ()) -> Workspace:
    """Return the workspace for the settings after a command; `more` come before them.

    Args:
        overrides: settings as typed.
        more: settings that they are appended to.
        allowed_overrides: keys and groups that may be set for a command on a trained run; none: all. Others are
            refused, as the run was not trained with them.

    Raises:
        UserError: a setting is refused.
    """
    from pipelines.config.compose import check_allowed_overrides, load_config
    from pipelines.workspace import Workspace

    config = load_config([*more, *(overrides or [])])
    if allowed_overrides:
        check_allowed_overrides(
            overrides or [], allowed_overrides, "the run decides, which is trained already; choose one with --run."
        )
    return Workspace(config)


def serving(workspace: Workspace) -> AbstractContextManager[str]:
    """Serve the champion, or the version of the settings, while the context is open; yields the URL."""
    from serving.app import running

    tracker, settings = workspace.tracker, workspace.config.serve
    version = tracker.resolve(settings.version or None)
    return running(settings, tracker.bundle(version), f"{workspace.config.tracking.model}/{version}")
