"""The common part of all commands, with Ctrl-C and --version."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from typer.core import TyperGroup

from fsvae.errors import UserError

if TYPE_CHECKING:
    from pipelines.workspace import Workspace


_ORDER = (
    *("quickstart", "simulate", "ingest", "prepare", "describe", "train", "evaluate", "promote", "serve", "recommend"),
    *("rollback", "runs", "latent", "daily", "ablate", "report", "tune", "config"),
)
"""Commands in the order of the steps."""


class Commands(TyperGroup):
    """The commands; an interruption by Ctrl-C is reported in one line."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # Typer's own class is private
        """Return the commands in the order of the steps."""
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Refuse a setting that is written as an option of a command.

        Raises:
            UserError: an option is none of the command, and has the name of a setting.
        """
        command = self.commands.get(args[0]) if args else None
        options = {option for parameter in command.params for option in parameter.opts} if command else set()
        for word, behind in zip(args[1:], [*args[2:], ""], strict=False):
            option, equals, value = word.partition("=")
            if command and option.startswith("--") and option not in {*options, "--help"}:
                from pipelines.config.compose import key_like

                if key := key_like(option, args[0]):
                    value = value if equals else behind
                    raise UserError(f"{option}: settings are written key=value, here {key}={value or 'VALUE'}.")
        return super().parse_args(ctx, args)

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


def workspace_of(
    overrides: list[str] | None,
    *more: str,
    allowed_overrides: Collection[str] = (),
    why: str = "the run decides, which is trained already; choose one with --run.",
) -> Workspace:
    """Return the workspace for the settings after a command; `more` come before them.

    Args:
        overrides: settings as typed.
        more: settings that they are appended to.
        allowed_overrides: keys and groups that may be set for the command; none: all.
        why: why others are refused.

    Raises:
        UserError: a setting is refused.
    """
    from pipelines.config.compose import check_allowed_overrides, load_config
    from pipelines.workspace import Workspace

    config = load_config([*more, *(overrides or [])])
    if allowed_overrides:
        check_allowed_overrides(overrides or [], allowed_overrides, why)
    return Workspace(config)


def serving(workspace: Workspace) -> AbstractContextManager[str]:
    """Serve the champion, or the version of the settings, while the context is open; yields the URL."""
    from serving.app import running
    from serving.stores.store import Served

    tracker, settings = workspace.tracker, workspace.config.serve

    def champion() -> Served:
        version = tracker.resolve(settings.version or None)
        return Served(f"{workspace.config.tracking.model}/{version}", str(tracker.bundle(version).resolve()))

    follow = None if settings.version else champion
    return running(settings, champion(), workspace.store_place, workspace.endpoint_log, follow)
