"""The commands on matrices of models: ablate, report."""

from __future__ import annotations

from pipelines.cli.app import Overrides, app

_OF_A_REPORT = ("evaluate.period", "workdir", "datasets", "lake")
"""The settings that say which matrix a report is of."""


@app.command()
def ablate(overrides: Overrides = None) -> None:
    """Train and compare the models of a matrix (configs/ablation/), each with every seed; goes on where it stopped.

    Example: [bold]fsvae ablate ablation=paper 'seeds=[1,2,3]'[/]
    """
    from pipelines.ablation.matrix import matrix_of

    matrix = matrix_of(overrides or [])
    from pipelines.ablation.ablate import ablate
    from pipelines.cli.console import Terminal
    from pipelines.workspace import Workspace

    ablate(matrix, Workspace(matrix.config), Terminal())


@app.command()
def report(overrides: Overrides = None) -> None:
    """Write the report of a matrix, as far as it is done: of the last one, or the last of a name or on a period.

    Example: [bold]fsvae report ablation=paper[/]
    """
    from pipelines.config.compose import check_allowed_overrides, group_option, key_of, load_config
    from pipelines.workspace import Workspace

    overrides = overrides or []
    settings = [text for text in overrides if key_of(text) != "ablation"]  # its file is not needed for a report
    why = "a report shows what was run, ablation=NAME says which; to run it with other settings: fsvae ablate."
    check_allowed_overrides(settings, _OF_A_REPORT, why)
    workspace = Workspace(load_config(settings))
    period = workspace.config.evaluate.period if "evaluate.period" in map(key_of, settings) else ""
    from pipelines.ablation.ablate import report
    from pipelines.ablation.matrix_results import find_matrix
    from pipelines.cli.console import Terminal

    Terminal().show(report(find_matrix(workspace.matrices, group_option("ablation", overrides), period), workspace))
