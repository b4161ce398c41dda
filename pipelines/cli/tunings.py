"""The command on tunings: tune."""

from __future__ import annotations

from pipelines.cli.app import Overrides, app


@app.command()
def tune(overrides: Overrides = None) -> None:
    """Search for a model's best settings on the validation period (configs/tune/); goes on where it stopped.

    Example: [bold]fsvae tune tune=fsvae tune.trials=50[/]

    Example: [bold]fsvae tune tune=gru4rec 'tune.workdirs=\\[work/lastfm,work/nowplaying]'[/]
    """
    from pipelines.tuning.tuning import tuning_of

    tuning = tuning_of(overrides or [])
    from pipelines.tuning.study import check_installed

    check_installed()
    from pipelines.cli.console import Terminal
    from pipelines.tuning.tune import tune
    from pipelines.workspace import Workspace

    terminal = Terminal()
    terminal.show(tune(tuning, Workspace(tuning.config), terminal))
