"""A tuning: what is searched, for which model, on which logs. All of it is checked before anything runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsvae.errors import UserError
from fsvae.storage import Folder
from pipelines.config.compose import chosen_option, key_of, load_config, without_group
from pipelines.config.schema import Config
from pipelines.tuning.space import Dimension, settings_of, space_of
from pipelines.workspace import Workspace

_OF_EVERY_TRIAL = ("evaluate.period=validation", "train.refit=false")
"""Settings of every trial, whatever else is set: the test period is never read."""
_OF_A_MODEL = ("recommender", "model", "train", "baselines", "seed")
"""Groups of settings that decide what a trial trains."""
_WITHOUT_EFFECT = {
    "dataset": "a tuning is on the current dataset of each log; another one is made by fsvae prepare.",
    "seeds": "each trial of a tuning is trained with one seed, which seed=… says.",
}


@dataclass(frozen=True)
class Tuning:
    """A search for the best settings of one model."""

    name: str
    """Name of its file in configs/tune/, or of the user's own file."""
    command: str
    """Command line as it was typed."""
    settings: list[str]
    """Settings of all trials."""
    config: Config
    """Configuration of the first trial: the present settings."""
    space: list[Dimension]

    def config_of(self, values: dict[str, Any]) -> Config:
        """Return the configuration of a trial with values of the space.

        Raises:
            UserError: they do not fit together.
        """
        return load_config([*self.settings, *settings_of(values)])

    def model_settings(self, values: dict[str, Any]) -> list[str]:
        """Return the settings behind a command that make the model of a trial."""
        kept = [text for text in self.settings if key_of(text).partition(".")[0] in _OF_A_MODEL]
        return [*(text for text in kept if key_of(text) not in values), *settings_of(values)]

    def logs(self) -> dict[str, Folder]:
        """Return the folder of all datasets of each log, by its working folder."""
        config = self.config
        if not config.tune.workdirs:
            return {config.workdir: Workspace(config).datasets}
        return {workdir: Folder.at(Path(workdir) / "datasets") for workdir in config.tune.workdirs}


def tuning_of(overrides: Sequence[str]) -> Tuning:
    """Return the tuning of a command line such as ``tune=fsvae tune.trials=50``.

    Raises:
        UserError: no space is named, it is refused (`space_of`), or a setting has no effect on a tuning.
    """
    whole = load_config(overrides)
    name = chosen_option("tune", overrides, "which space to search, such as fsvae tune")
    _check_effects(overrides, whole)
    settings = [*whole.tune.base, *without_group("tune", overrides), *_OF_EVERY_TRIAL]
    where = f"tune={name}"
    try:
        config = load_config(settings)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    config.tune = whole.tune
    space = space_of(config, settings, where)
    return Tuning(name, shlex.join(["fsvae", "tune", *overrides]), settings, config, space)


def _check_effects(overrides: Sequence[str], config: Config) -> None:
    for text in [*config.tune.base, *overrides]:
        key = key_of(text)
        if why := _WITHOUT_EFFECT.get(key.partition(".")[0]):
            raise UserError(f"{text}: {why}")
        if key == "evaluate.period" and not text.endswith("=validation"):
            raise UserError(
                f"{text}: a tuning reads the validation period only. The test period is for the last word on what it "
                "has found: fsvae ablate."
            )
    workdirs = config.tune.workdirs
    if len({Path(workdir).absolute() for workdir in workdirs}) < len(workdirs):
        raise UserError(f"tune.workdirs=[{','.join(workdirs)}] is not a list of different folders.")
