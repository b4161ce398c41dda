"""Whole tunings: the best is what the table says, nothing runs twice, and the test period is never read."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_tuning import NETWORK, OF_COUNTS, OF_NETWORK, space_file
from typer.testing import CliRunner

import pipelines.ablation.variant as variant
import pipelines.tuning.tune as tuning
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.ablation.variant import Ended, Trial
from pipelines.cli.main import app
from pipelines.config.compose import load_config
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.tuning.record import tuned_runs

Tune = Callable[..., str]


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """What is run."""
    told: list[Trial] = []
    run_trial = tuning.run_trial

    def tell(trial: Trial) -> Ended:
        told.append(trial)
        return run_trial(trial)

    monkeypatch.setattr(tuning, "run_trial", tell)
    return told


@pytest.fixture
def tune(workdir: Path, small_datasets: Path) -> Tune:
    """Run the command and return what it printed, and the message of its error."""

    def run(*arguments: str, status: int = 0, workdir: Path = workdir) -> str:
        where = [f"workdir={workdir}", f"datasets={small_datasets}", "engine.workers=1"]
        done = CliRunner().invoke(app, ["tune", *arguments, *where])
        assert done.exit_code == status, f"{done.output}\n{done.exception!r}"
        return f"{done.output}{done.exception or ''}"

    return run


def record_of(workdir: Path) -> dict[str, Any]:
    (path,) = workdir.glob("tunings/*/tune.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_best_is_what_the_table_says(
    tune: Tune, ran: list[Trial], workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_model, periods = variant.evaluate_model, set()

    def told(*arguments: Any) -> Any:
        periods.add(arguments[2])
        return evaluate_model(*arguments)

    monkeypatch.setattr(variant, "evaluate_model", told)
    space = space_file(tmp_path, OF_NETWORK)
    printed = tune(space, *NETWORK, "tune.trials=3")
    assert len(ran) == 3 and len(re.findall(r"trial +\d  NDCG@10 0\.\d+ ", printed)) == 3
    record = record_of(workdir)
    trials = record["trials"]
    assert trials[0]["values"] == {"model.beta": 0.002, "model.fast_hidden": 8, "model.fast_layers": 1}
    assert trials[0]["score"] == 1.0
    stored = [json.loads((trial.stored.folder / "validation" / "metrics.json").read_text()) for trial in ran]
    figures = [one["metrics"]["ndcg@10"] for one in stored]
    assert [trial["figures"] for trial in trials] == [{str(workdir): figure} for figure in figures]
    assert [trial["score"] for trial in trials] == pytest.approx([figure / figures[0] for figure in figures])
    best = max(range(3), key=figures.__getitem__)
    rows = [line for line in printed.splitlines() if line.startswith("│ ")]
    assert rows[0].split("│")[1].split() == (["0", "(present)"] if best == 0 else [str(best)])
    assert [float(row.split("│")[2]) for row in rows] == sorted((round(f, 4) for f in figures), reverse=True)

    assert periods == {"validation"} and not list(workdir.glob("variants/*/test"))
    assert record["period"] == "validation" and record["metric"] == "ndcg@10" and record["budget"]["trials"] == 3
    assert record["command"].startswith("fsvae tune tune=") and "cores" in record["machine"]
    assert record["space"]["model.fast_hidden"]["choices"] == [8, 16]
    assert tuned_runs(workdir / "tunings") == {trial.name for trial in ran}
    (page,) = workdir.glob("tunings/*/tune.md")
    assert "A small search: the best of 3 trials" in page.read_text() and (page.parent / "tune.png").exists()

    assert "3 of 3 trials done" in tune(space, *NETWORK, "tune.trials=3") and len(ran) == 3
    assert "3 of 4 trials done" in tune(space, *NETWORK, "tune.trials=4") and len(ran) == 4


def test_the_command_that_is_printed_trains_the_best(tune: Tune, workdir: Path, tmp_path: Path) -> None:
    present = ["model.fast_hidden=8", "train.optimiser.learning_rate=0.00001"]  # hardly learns: another one is better
    space = space_file(tmp_path, "{train.optimiser.learning_rate: {low: 0.00001, high: 0.1, log: true}}")
    printed = tune(space, *NETWORK, *present, "seed=3", "tune.trials=3")
    best = max(record_of(workdir)["trials"], key=lambda trial: trial["score"])
    assert best["number"] and f"trial {best['number']} is +" in printed
    (line,) = (line.strip() for line in printed.splitlines() if line.strip().startswith("fsvae train"))
    config = load_config(shlex.split(line)[2:])
    assert config.train.optimiser.learning_rate == best["values"]["train.optimiser.learning_rate"]
    assert (config.seed, config.model.history, config.model.fast_hidden, config.train.max_epochs) == (3, 16, 8, 1)
    assert config.workdir == str(workdir) and config.datasets


def test_an_interrupted_search_is_the_same_as_an_undisturbed_one(
    tune: Tune, ran: list[Trial], workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = "recommender=markov, baselines.markov.personal_weight=0, baselines.markov.pair_weight=0"
    space = space_file(tmp_path, OF_COUNTS, poor)
    run_trial = tuning.run_trial

    def interrupt(trial: Trial) -> Ended:
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run_trial(trial)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "run_trial", interrupt)
        printed = tune(space, "tune.trials=4", status=130)
        assert "interrupted with 2 of 4 trials done; the same command goes on" in printed
    assert len(record_of(workdir)["trials"]) == 3, "the third one is written down, as its run may have begun"
    assert "as a variant of a matrix (fsvae ablate): [recommender=markov, " in tune(space, "tune.trials=4")
    assert len({trial.name for trial in ran}) == len(ran) == 4
    tune(space, "tune.trials=4", workdir=tmp_path / "other")
    one, two = (record_of(folder)["trials"] for folder in (workdir, tmp_path / "other"))
    assert [trial["values"] for trial in one] == [trial["values"] for trial in two]
    assert [trial["score"] for trial in one] == [trial["score"] for trial in two]
    assert len({str(trial["values"]) for trial in one}) == 4


def test_equal_trials_of_two_tunings_run_once(tune: Tune, workdir: Path, tmp_path: Path) -> None:
    tune(space_file(tmp_path, OF_COUNTS, "recommender=markov"), "tune.trials=1")
    (written,) = (path.stat().st_mtime_ns for path in workdir.glob("variants/*/validation/metrics.json"))
    tune(space_file(tmp_path, OF_COUNTS, "recommender=markov", name="other"), "tune.trials=1")
    (again,) = (path.stat().st_mtime_ns for path in workdir.glob("variants/*/validation/metrics.json"))
    assert written == again and len(list(workdir.glob("tunings/*"))) == 2


def test_trials_side_by_side_are_as_many_as_wanted(tune: Tune, workdir: Path, tmp_path: Path) -> None:
    tune(space_file(tmp_path, OF_COUNTS, "recommender=markov"), "tune.trials=12", "tune.at_once=3")
    trials = record_of(workdir)["trials"]
    assert [trial["number"] for trial in trials] == list(range(12)) and all(trial["score"] for trial in trials)
    (page,) = workdir.glob("tunings/*/tune.md")
    assert "share in the spread of the trials: " in page.read_text()


def test_two_logs_count_alike(
    tune: Tune, workdir: Path, tmp_path: Path, small_lake: Lake, small_datasets: Path, ran: list[Trial]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.copytree(small_datasets, one / "datasets")
    prepare(small_lake, DatasetConfig(min_count=4, track2vec=Track2VecConfig(epochs=1)), 1, two / "datasets")
    space = space_file(tmp_path, OF_COUNTS, "recommender=markov")
    printed = tune(space, f"tune.workdirs=[{one},{two}]", "tune.trials=3", "tune.metric=mrr")
    assert "MRR 0." in printed and "gain: mean over the logs" in printed
    assert len(ran) == 6 and len({trial.dataset.name for trial in ran}) == 2
    trials = record_of(workdir)["trials"]
    for trial in trials:
        ratios = [trial["figures"][str(log)] / trials[0]["figures"][str(log)] for log in (one, two)]
        assert trial["score"] == pytest.approx(sum(ratios) / 2) and len(trial["runs"]) == 2
    assert not list(one.glob("variants")) and not list(two.glob("variants"))

    shutil.copytree(one, tmp_path / "copy")
    same = f"tune.workdirs=[{one},{tmp_path / 'copy'}]"
    assert "have the same dataset" in tune(space, same, status=1)
    assert "no prepared dataset there" in tune(space, f"tune.workdirs=[{tmp_path / 'nothing'}]", status=1)


def test_a_trial_that_fails_does_not_stop_the_search_but_the_first_one_does(
    tune: Tune, ran: list[Trial], workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, run_trial = space_file(tmp_path, OF_COUNTS, "recommender=markov"), tuning.run_trial
    failing = {0}

    def fail(trial: Trial) -> Ended:
        return Ended(0.0, "out of paper") if len(ran) in failing else run_trial(trial)

    monkeypatch.setattr(tuning, "run_trial", fail)
    assert "The present settings cannot be compared with: " in tune(space, "tune.trials=3", status=1)
    failing.clear()
    tune(space, "tune.trials=1")
    failing.add(1)
    printed = tune(space, "tune.trials=2")
    assert "failed: " in printed and "out of paper" in printed and "1 trial failed" in printed
    failing.clear()
    printed = tune(space, "tune.trials=3")
    assert "2 of 3 trials done" in printed and "the best of 2 trials" in printed and len(ran) == 2
    assert [bool(trial["error"]) for trial in record_of(workdir)["trials"]] == [False, True, False]


def test_values_that_do_not_fit_together_are_a_trial_that_failed(tune: Tune, workdir: Path, tmp_path: Path) -> None:
    space = "{baselines.sasrec.hidden: {low: 7, high: 9}, baselines.sasrec.heads: {choices: [1, 5, 6]}}"
    small = ["baselines.sasrec.history=8", "baselines.sasrec.blocks=1", "baselines.sasrec.feedforward=8", *NETWORK[-2:]]
    present = ["recommender=sasrec", "baselines.sasrec.hidden=8", "baselines.sasrec.heads=1"]
    message = tune(space_file(tmp_path, space), *present, *small, "tune.trials=3", status=1)
    assert "space of baselines.sasrec.heads: baselines.sasrec.hidden=8 is not a multiple of heads=5" in message
    space = "{baselines.sasrec.hidden: {choices: [8, 12]}, baselines.sasrec.heads: {choices: [4, 8]}}"
    present[-1] = "baselines.sasrec.heads=4"
    printed = tune(space_file(tmp_path, space), *present, *small, "tune.trials=8")
    assert "failed: baselines.sasrec.hidden=12 is not a multiple of heads=8" in printed
    failed = [trial for trial in record_of(workdir)["trials"] if trial["error"]]
    assert failed and not any(trial["runs"] for trial in failed)
