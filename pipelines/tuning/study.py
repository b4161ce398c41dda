"""The study of a tuning: Optuna chooses what is tried next, and keeps all trials in an SQLite file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fsvae.errors import UserError
from pipelines.tuning.space import Dimension
from pipelines.tuning.tried import Tried

_FEW = 10
"""Number of trials below which nothing is said of the settings' importance; the first ten are drawn at random."""


def check_installed() -> None:
    """Check that Optuna is there.

    Raises:
        UserError: it is not.
    """
    if find_spec("optuna") is None:
        raise UserError("fsvae tune searches with Optuna, which is not installed: pip install 'fsvae[tune]'.")


@dataclass(frozen=True)
class Asked:
    """A trial that is to be run."""

    number: int
    values: dict[str, Any]
    """Key → value that is tried."""
    _trial: Any

    def plan(self, runs: list[str]) -> None:
        """Note the runs that it is made of, by the names of their folders."""
        self._trial.set_user_attr("values", self.values)
        self._trial.set_user_attr("runs", runs)

    def done(self, figures: dict[str, float], score: float, seconds: float) -> None:
        """Note its figure on each log, and its score, which the search maximises."""
        self._trial.set_user_attr("figures", figures)
        self._trial.set_user_attr("seconds", seconds)
        self._trial.study.tell(self.number, score)

    def failed(self, error: str) -> None:
        """Note that it failed: the search goes on without it."""
        from optuna.trial import TrialState

        self._trial.set_user_attr("error", error)
        self._trial.study.tell(self.number, state=TrialState.FAIL)


class Study:
    """The trials of a tuning, those of an interrupted one included.

    Each trial's draws are seeded by (seed, number), so that a search that was interrupted between two trials is the
    same as an undisturbed one.
    """

    def __init__(self, file: Path, space: list[Dimension], seed: int) -> None:
        """Open the study, or make it, with the present settings as its first trial."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._space, self._seed = space, seed
        storage = optuna.storages.RDBStorage(f"sqlite:///{file.absolute()}")
        self._study = optuna.create_study(
            storage=storage, study_name="tuning", direction="maximize", load_if_exists=True
        )
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial({dimension.key: dimension.present for dimension in space})

    def batches(self, trials: int, at_once: int) -> Iterator[list[Asked]]:
        """Yield the trials that are to be run side by side, until there are as many as wanted.

        Those that an interrupted search had begun come first, and the very first trial comes alone, as all others are
        compared with it. Each batch is chosen when the one before is done.
        """
        from optuna.trial import TrialState

        begun = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if begun:
            yield [self._asked(trial.number, trial._trial_id) for trial in begun]
        while (made := self._made()) < trials:
            together = min(at_once, trials - made) if made else 1
            yield [self._asked(made + place) for place in range(together)]

    def tried(self) -> list[Tried]:
        """Return all trials that are planned, in their order."""
        return [
            Tried(trial.number, score=trial.value, **trial.user_attrs)
            for trial in self._study.get_trials(deepcopy=False)
            if "runs" in trial.user_attrs
        ]

    def importance(self) -> dict[str, float]:
        """Return the share of each setting in the spread of the scores (fANOVA); empty after few trials."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < _FEW or len({trial.value for trial in done}) == 1:
            return {}
        found = get_param_importances(self._study, evaluator=FanovaImportanceEvaluator(seed=self._seed))
        return {key: float(share) for key, share in found.items()}

    def _made(self) -> int:
        from optuna.trial import TrialState

        return sum(trial.state != TrialState.WAITING for trial in self._study.get_trials(deepcopy=False))

    def _asked(self, number: int, begun: int | None = None) -> Asked:
        """Return a new trial, or one that was begun, by its id; the values that it has are not drawn anew."""
        from optuna.samplers import TPESampler
        from optuna.trial import Trial

        draws = np.random.SeedSequence(self._seed, spawn_key=(number,)).generate_state(1)[0]
        self._study.sampler = TPESampler(seed=int(draws))
        trial = self._study.ask() if begun is None else Trial(self._study, begun)
        values = {dimension.key: dimension.tried(_drawn(trial, dimension)) for dimension in self._space}
        return Asked(number, values, trial)


def _drawn(trial: Any, dimension: Dimension) -> Any:
    if dimension.span.choices:
        return trial.suggest_categorical(dimension.key, dimension.span.choices)
    low, high = dimension.ends
    if dimension.whole:
        return trial.suggest_int(dimension.key, int(low), int(high), log=dimension.span.log)
    return trial.suggest_float(dimension.key, low, high, log=dimension.span.log)
