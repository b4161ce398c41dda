"""Tune: run the trials of a search as far as they are not done, and say which settings are best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean

from fsvae.errors import UserError
from fsvae.evaluation.metric_names import COLUMNS
from fsvae.files import fingerprint
from fsvae.storage import Folder
from pipelines.ablation.variant import Ended, Trial, run_trial
from pipelines.config.schema import Config
from pipelines.prepare.datasets import dataset_in_use
from pipelines.runtime.engine import Engine, engine_of
from pipelines.runtime.locks import held
from pipelines.runtime.watch import Watch
from pipelines.tuning.outcome import Outcome, write_outcome
from pipelines.tuning.record import head_of, write_record
from pipelines.tuning.space import settings_of
from pipelines.tuning.study import Asked, Study
from pipelines.tuning.tried import Tried, best_first
from pipelines.tuning.tuning import Tuning
from pipelines.workspace import Workspace


def tune(tuning: Tuning, workspace: Workspace, watch: Watch) -> Outcome:
    """Run the missing trials of a tuning, and write its record.

    Args:
        tuning: what is searched.
        workspace: workspace of the study and the runs.
        watch: listener to each trial.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how many trials are done.
        UserError: the present settings cannot be run or find nothing, or a worker was killed.
    """
    with engine_of(tuning.config.engine) as engine, _in_use(tuning.logs()) as datasets:
        folder = workspace.tunings / _name(tuning, datasets, workspace.variants)
        with held(folder, "run of this very tuning"):
            study = Study(folder / "study.db", tuning.space, tuning.config.seed)
            search = _Search(tuning, datasets, workspace.variants, folder, study, engine, watch)
            search.run()
            outcome = Outcome(tuning, folder, search.head, study.tried(), study.importance())
            write_outcome(outcome)
            return outcome


@contextmanager
def _in_use(logs: dict[str, Folder]) -> Iterator[dict[str, Folder]]:
    """Yield the current dataset of each log, and keep them from being deleted while the context is open."""
    with ExitStack() as uses:
        found: dict[str, Folder] = {}
        for log, datasets in logs.items():
            dataset, _ = uses.enter_context(dataset_in_use(datasets))
            same = next((other for other, known in found.items() if known.name == dataset.name), None)
            if same:
                raise UserError(f"tune.workdirs: {log} and {same} have the same dataset, {dataset.name}.")
            found[log] = dataset
        yield found


def _name(tuning: Tuning, datasets: dict[str, Folder], variants: Path) -> str:
    """Return the name of a tuning's folder, by what it is made of; the number of trials is not."""
    made_of = [
        {log: run.made_of for log, run in _runs(tuning.config, datasets, variants).items()},
        {dimension.key: dimension.said() for dimension in tuning.space},
        tuning.config.tune.metric,
    ]
    return f"{tuning.name}-{fingerprint(made_of)[:8]}"


def _runs(config: Config, datasets: dict[str, Folder], variants: Path) -> dict[str, Trial]:
    return {log: Trial(config, config.seed, dataset, variants) for log, dataset in datasets.items()}


class _Search:
    """The trials of a tuning, run one batch after the other."""

    def __init__(
        self,
        tuning: Tuning,
        datasets: dict[str, Folder],
        variants: Path,
        folder: Path,
        study: Study,
        engine: Engine,
        watch: Watch,
    ) -> None:
        self._tuning, self._datasets, self._variants = tuning, datasets, variants
        self._folder, self._study, self._engine, self._watch = folder, study, engine, watch
        self._metric = tuning.config.tune.metric
        self.head = head_of(tuning, datasets)

    def run(self) -> None:
        """Run the trials that are not done."""
        wanted, at_once = self._tuning.config.tune.trials, self._tuning.config.tune.at_once
        ended = sum(trial.ended for trial in self._study.tried())
        logs = ", ".join(self._datasets)
        self._watch.note("tune", f"{self._tuning.name} on {logs}: {ended} of {wanted} trials done → {self._folder}")
        try:
            with self._watch.progress("tune") as told:
                for batch in self._study.batches(wanted, at_once):
                    self._run_batch(batch)
                    told(f"{batch[-1].number + 1} of {wanted}", (batch[-1].number + 1) / wanted)
        except KeyboardInterrupt as interrupt:
            done = sum(trial.ended for trial in self._study.tried())
            raise KeyboardInterrupt(
                f"interrupted with {done} of {wanted} trials done; the same command goes on"
            ) from interrupt

    def _run_batch(self, batch: Sequence[Asked]) -> None:
        """Run some trials side by side, each once on each log, and note how they ended in their order."""
        runs: dict[int, dict[str, Trial]] = {}
        errors: dict[int, str] = {}
        for asked in batch:
            runs[asked.number] = {}
            try:
                config = self._tuning.config_of(asked.values)
                runs[asked.number] = _runs(config, self._datasets, self._variants)
            except UserError as refusal:
                errors[asked.number] = str(refusal)
            asked.plan([run.name for run in runs[asked.number].values()])
        write_record(self._folder, self.head, self._study.tried())  # first, so that no clean-up deletes the runs
        pieces = list({run.name: run for of_trial in runs.values() for run in of_trial.values()}.values())
        ended = {pieces[place].name: how for place, how in self._engine.as_they_come(run_trial, pieces)}
        for asked in batch:
            mine = runs[asked.number]
            error = errors.get(asked.number) or _error(mine, ended)
            if error and not asked.number:  # not noted: the same command runs it again
                raise UserError(f"The present settings cannot be compared with: {error}")
            if error:
                asked.failed(error)
            else:
                self._note_figures(asked, mine, sum(ended[run.name].seconds for run in mine.values()))
            self._watch.note("", self._line(self._study.tried()))
        write_record(self._folder, self.head, self._study.tried())

    def _note_figures(self, asked: Asked, runs: dict[str, Trial], seconds: float) -> None:
        figures = {log: float(run.stored.summary()["metrics"][self._metric]) for log, run in runs.items()}
        present = self._study.tried()[0].figures if asked.number else figures
        for log, figure in present.items():
            if not figure > 0:
                raise UserError(
                    f"{log}: {COLUMNS[self._metric]} of the present settings is {figure:g} on its validation period, "
                    "and nothing can be said relative to that. Choose another tune.metric, or a larger log."
                )
        asked.done(figures, fmean(figures[log] / present[log] for log in figures), seconds)

    def _line(self, tried: Sequence[Tried]) -> str:
        """Return what is said of the trial that has ended last."""
        trial = [one for one in tried if one.ended][-1]
        settings = " ".join(settings_of(trial.values)) if trial.number else "the present settings"
        where = f"trial {trial.number:>3}  "
        if trial.error:
            return f"{where}failed: {trial.error}  {settings}"
        figures = ", ".join(f"{figure:.4f}" for figure in trial.figures.values())
        best = " (best)" if trial.number and best_first(tried)[0].number == trial.number else ""
        return f"{where}{COLUMNS[self._metric]} {figures}  {trial.gain}{best}  {trial.seconds:.0f} s  {settings}"


def _error(runs: dict[str, Trial], ended: dict[str, Ended]) -> str:
    """Return the error of a trial's runs, with its log; empty: none has one."""
    return "; ".join(f"{log}: {ended[run.name].error}" for log, run in runs.items() if ended[run.name].error)
