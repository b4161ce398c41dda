"""The outcome of a tuning: the best trials beside the present settings, as a table, a picture and a page of text."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsvae.evaluation.metric_names import COLUMNS
from fsvae.storage import Folder
from pipelines.config.compose import key_of
from pipelines.reports.plot import ACCENT, GREY, Plot
from pipelines.reports.words import count, percent
from pipelines.runtime.table import Table
from pipelines.runtime.watch import Summary
from pipelines.tuning.space import text_of
from pipelines.tuning.tried import Tried, best_first
from pipelines.tuning.tuning import Tuning

_SHOWN = 10
"""Number of the best trials in a table."""


@dataclass(frozen=True)
class Outcome(Summary):
    """What a tuning has found so far."""

    tuning: Tuning
    folder: Path
    head: dict[str, Any]
    """`record.head_of` the tuning."""
    tried: list[Tried]
    importance: dict[str, float]
    """Setting → its share in the spread of the scores; empty after few trials."""
    verb = "tune"

    @property
    def best(self) -> Tried:
        """Return the best trial."""
        return best_first(self.tried)[0]

    def tables(self) -> list[Table]:
        """Return the best trials, and the first one."""
        return [best_table(self)]

    def lines(self) -> list[str]:
        """Return which settings matter, how good the best are and how to use them, and the path of the record."""
        return [*findings(self), *commands(self), f"record and picture → {self.folder / 'tune.md'}"]


def findings(outcome: Outcome) -> list[str]:
    """Return what a tuning has found, in sentences."""
    found = []
    if outcome.importance:
        shares = ", ".join(f"{key} {percent(share)}" for key, share in outcome.importance.items())
        found.append(f"share in the spread of the trials: {shares}")
    failed = sum(bool(trial.error) for trial in outcome.tried)
    if failed:
        found.append(f"{count(failed, 'trial')} failed")
    if not outcome.best.number:
        return [*found, "no trial is better than the present settings"]
    return [
        *found,
        f"trial {outcome.best.number} is {outcome.best.gain} beside the present settings on the validation period, by "
        "one seed and as the best of many: the test period tells what it is worth",
    ]


def commands(outcome: Outcome) -> list[str]:
    """Return what to type for the best settings: to train FS-VAE on each log, or a baseline as a variant.

    Nothing is to be typed where the present settings are the best.
    """
    if not outcome.best.number:
        return []
    tuning = outcome.tuning
    settings = tuning.model_settings(outcome.best.values)
    if tuning.config.recommender != "fsvae":
        of_variant = [text for text in settings if key_of(text) != "seed"]
        return [f"as a variant of a matrix (fsvae ablate): [{', '.join(of_variant)}]"]
    if tuning.config.tune.workdirs:
        where = [[f"workdir={workdir}"] for workdir in tuning.config.tune.workdirs]
    else:
        where = [[text for text in tuning.settings if key_of(text) in ("workdir", "datasets")]]
    return [shlex.join(["fsvae", "train", *settings, *of_log]) for of_log in where]


def best_table(outcome: Outcome) -> Table:
    """Return the best trials, the best first, and the present settings where they are not among them."""
    ranked, metric = best_first(outcome.tried), COLUMNS[outcome.head["metric"]]
    shown = ranked[:_SHOWN] + [trial for trial in ranked[_SHOWN:] if not trial.number]
    logs, keys = list(outcome.head["datasets"]), list(outcome.head["space"])
    rows = [
        (
            f"{trial.number}" if trial.number else "0 (present)",
            *(f"{trial.figures[log]:.4f}" for log in logs),
            trial.gain,
            *(text_of(trial.values[key]) for key in keys),
        )
        for trial in shown
    ]
    headings = ("trial", *(f"{metric}, {log}" if len(logs) > 1 else metric for log in logs), "gain", *_short(keys))
    what = outcome.head["title"] or outcome.head["name"]
    title = f"{what}: the best of {count(len(ranked), 'trial')}, validation period"
    note = "gain: mean over the logs of what the metric is above that of the present settings." if len(logs) > 1 else ""
    return Table(title, headings, rows, note)


def write_outcome(outcome: Outcome) -> None:
    """Write `tune.md` and `tune.png` into the folder of the tuning."""
    folder = Folder.at(outcome.folder)
    folder.write("tune.png", _plot(outcome).png())
    folder.write("tune.md", _markdown(outcome).encode())


def _short(keys: list[str]) -> list[str]:
    """Return the last part of each key, or all of it where that is the same twice."""
    last = [key.rpartition(".")[2] for key in keys]
    times = Counter(last)
    return [name if times[name] == 1 else key for name, key in zip(last, keys, strict=True)]


def _plot(outcome: Outcome) -> Plot:
    done = [trial for trial in outcome.tried if trial.score is not None]
    numbers, gains = [trial.number for trial in done], [100 * ((trial.score or 0.0) - 1) for trial in done]
    best = [max(gains[: place + 1]) for place in range(len(gains))]

    def draw(axes: Any) -> None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.plot(numbers, gains, "o", color=GREY, markersize=4)
        axes.step(numbers, best, where="post", color=ACCENT)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{COLUMNS[outcome.head['metric']]}, gain [%]")

    return Plot("Gain by trial", "Each trial beside the present settings; the line is the best so far.", draw)


def _markdown(outcome: Outcome) -> str:
    head, best = outcome.head, outcome.best
    table = best_table(outcome)
    about = (
        f"`{head['command']}` (commit {head['git_commit'][:12]}, {head['at']}; {head['machine']}). "
        f"{COLUMNS[head['metric']]} over all targets of the {head['period']} period, seed {head['seed']}, up to "
        f"{head['budget']['epochs']} epochs; {len(outcome.tried)} of {head['budget']['trials']} trials. "
        f"Datasets: {', '.join(f'{name} ({log})' for log, name in head['datasets'].items())}."
    )
    lines = [f"## {table.title}", "", about, ""]
    lines += [f"* {finding}" for finding in findings(outcome)]
    lines += ["", *(f"    {command}" for command in commands(outcome)), "", *_rows(table.headings, table.rows), ""]
    lines += [table.note, "", "![Gain by trial](tune.png)", ""]
    space = [
        (
            dimension.key,
            dimension.said(),
            text_of(dimension.present),
            text_of(best.values[dimension.key]),
            percent(outcome.importance.get(dimension.key)),
        )
        for dimension in outcome.tuning.space
    ]
    return "\n".join([*lines, *_rows(("setting", "searched", "present", "best", "share in the spread"), space), ""])


def _rows(headings: Any, rows: Any) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]
