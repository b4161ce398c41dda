"""Whole matrices: nothing runs twice, whatever was interrupted; MLflow has nested runs; a report is there then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import mlflow
import pytest
from lakes import disk
from small_matrix import SMALL, with_matrix
from typer.testing import CliRunner

import pipelines.ablation.run as running
from fsvae.errors import UserError
from fsvae.features.track2vec import Track2VecConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.storage import Folder
from pipelines.ablation import variant_datasets
from pipelines.ablation.matrix import Variant
from pipelines.ablation.variant import Ended, Trial
from pipelines.cli.main import app
from pipelines.config.compose import load_config
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.runtime.engine import LocalEngine

MINE = """
title: Two models
base: [model=paper]
reference: FS-VAE
variants:
  FS-VAE: []
  the same: [train.max_epochs=2]
  Popularity: [recommender=popularity]
"""
OTHER = """
title: Another question
base: [model=paper]
reference: FS-VAE
variants:
  FS-VAE: []
  Average: [recommender=average]
"""
Ablate = Callable[..., str]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run, by the name of its recommender and seed."""
    told: list[str] = []
    run_trial = running.run_trial

    def tell(trial: Trial) -> Ended:
        told.append(f"{trial.config.recommender} {trial.seed}")
        return run_trial(trial)

    monkeypatch.setattr(running, "run_trial", tell)
    return told


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def settings(workdir: Path, small_lake: Lake, small_datasets: Path) -> list[str]:
    return [f"workdir={workdir}", f"lake={disk(small_lake)}", f"datasets={small_datasets}", "engine.workers=1", *SMALL]


@pytest.fixture
def ablate(tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch) -> Ablate:
    """Run a command and return what it printed, and the message of its error."""
    with_matrix(tmp_path, monkeypatch, mine=MINE, other=OTHER)
    monkeypatch.setattr("pipelines.ablation.matrix_page.plots", lambda results: [])

    def run(*arguments: str, command: str = "ablate", status: int = 0) -> str:
        where = settings if command == "ablate" else settings[:3]  # a report has no settings of models
        done = CliRunner().invoke(app, [command, *arguments, *where])
        assert done.exit_code == status, f"{done.output}\n{done.exception!r}"
        return f"{done.output}{done.exception or ''}"

    return run


def test_a_matrix_runs_each_different_variant_once(ablate: Ablate, ran: list[str], workdir: Path) -> None:
    printed = ablate("ablation=mine", "seeds=[1,2]")
    # Two variants are made of the same, and Popularity knows no seeds.
    assert ran == ["fsvae 1", "popularity 1", "fsvae 2"]
    assert "'the same' and 'FS-VAE' are one model: no setting differs that it reads" in printed.split("L2")[0]
    assert "Two models" in printed and "FS-VAE (reference)" in printed and "0 of 2" in printed
    assert [line.split(":")[0].strip() for line in printed.splitlines() if " cosine " in line and "R@10" in line] == [
        "FS-VAE, seed 1",
        "Popularity, seed 1",
        "FS-VAE, seed 2",
    ]
    (report,) = workdir.glob("matrices/mine-*/report.html")
    assert str(report) in printed and (report.parent / "report.md").exists()

    assert "2 of 2" in ablate("ablation=mine", "seeds=[1,2]") and len(ran) == 3
    ablate("ablation=other", "seeds=[2]")  # the same variant of another matrix
    assert ran[3:] == ["average 2"]

    assert "other-" in ablate(command="report")
    again = ablate("ablation=somewhere/else/mine.yaml", command="report")  # a file that is no more there
    assert "mine-" in again and "mine, test period, dataset " in again and len(ran) == 4
    assert "no matrix mine on the validation period there" in ablate(
        "ablation=mine", "evaluate.period=validation", command="report", status=1
    )
    for setting in ("seeds=[1]", "model.slow=off", "ablation.reference=other"):
        assert f"{setting}: a report shows what was run" in ablate(setting, command="report", status=1)
    ablate("ablation=other", "seeds=[2]", "evaluate.period=validation")
    assert "other, validation period" in ablate(command="report")
    assert "other, test period" in ablate("evaluate.period=test", command="report")


def test_a_matrix_is_a_run_of_mlflow_with_a_run_for_each_variant_and_seed_below_it(
    ablate: Ablate, ran: list[str], workdir: Path
) -> None:
    ablate("ablation=mine", "seeds=[2]")
    ablate("ablation=mine", "seeds=[2]")  # nothing is logged twice
    client = mlflow.MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    experiment = client.get_experiment_by_name("fsvae")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.info.run_name == "ablation mine")
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert len(runs) == 4 and sorted(children) == ["FS-VAE, seed 2", "Popularity, seed 2", "the same, seed 2"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.params["command"].startswith("fsvae ablate ablation=mine 'seeds=[2]'")
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html", "report.md"]
    child = children["FS-VAE, seed 2"]
    assert child.data.params["config.history"] == "16" and child.data.params["seed"] == "2"
    assert [point.step for point in client.get_metric_history(child.info.run_id, "val/l2")] == [1, 2]
    metrics = [json.loads(path.read_text())["metrics"]["l2"] for path in workdir.glob("variants/*/test/metrics.json")]
    assert child.data.metrics["test/l2"] in metrics
    assert client.search_model_versions("name='fsvae'") == []


def test_an_interrupted_matrix_goes_on_with_what_is_left(
    ablate: Ablate, ran: list[str], monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    run_trial = running.run_trial

    def interrupt(trial: Trial) -> Ended:
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run_trial(trial)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_trial", interrupt)
        printed = ablate("ablation=mine", "seeds=[1,2]", status=130)
        assert "interrupted with 2 of 3 runs done; the same command goes on" in printed
    assert statuses(workdir) == ["FINISHED", "FINISHED", "FINISHED", "KILLED"]  # three variants by name, and the matrix
    assert "Not done yet: FS-VAE, seed 2; the same, seed 2." in ablate(command="report")
    ablate("ablation=mine", "seeds=[1,2]")
    assert ran == ["fsvae 1", "popularity 1", "fsvae 2"]
    assert set(statuses(workdir)) == {"FINISHED"}


def statuses(workdir: Path) -> list[str]:
    """How the runs ended, in MLflow."""
    client = mlflow.MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    experiment = client.get_experiment_by_name("fsvae")
    return sorted(run.info.status for run in client.search_runs([experiment.experiment_id]))


def test_where_a_worker_is_killed_what_is_done_is_told(
    ablate: Ablate, ran: list[str], monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    run_trial = running.run_trial

    def killed(trial: Trial) -> Ended:
        if len(ran) == 2:
            raise UserError("a worker process was killed")
        return run_trial(trial)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_trial", killed)
        printed = ablate("ablation=mine", "seeds=[1,2]", status=1)
    assert "a worker process was killed" in printed and "report.html" in printed
    assert "FAILED" in statuses(workdir)
    assert "Not done yet: FS-VAE, seed 2; the same, seed 2." in printed


def test_a_variant_that_fails_does_not_stop_the_others(
    ablate: Ablate, ran: list[str], monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of paper")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.ablation.variant.latent_use", fail)
        printed = ablate("ablation=mine", "seeds=[1,2]", status=1)
        assert "2 of 3 runs failed (FS-VAE); see above" in printed and "RuntimeError('out of paper')" in printed
    assert ran == ["fsvae 1", "popularity 1", "fsvae 2"]
    assert statuses(workdir) == ["FAILED", "FINISHED"]  # the matrix, and Popularity
    ablate("ablation=mine", "seeds=[1,2]")
    assert ran[3:] == ["fsvae 1", "fsvae 2"]


def test_a_variant_with_another_track_space_has_a_dataset_of_its_own(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch, small_datasets: Path, workdir: Path
) -> None:
    variants = "{as it is: [], 3 dimensions: [dataset.track2vec.dim=3], the same: [dataset.track2vec.dim=80]}"
    with_matrix(tmp_path, monkeypatch, dims=f"reference: as it is\nbase: [recommender=average]\nvariants: {variants}\n")
    current = (small_datasets / "CURRENT").read_text()
    done = CliRunner().invoke(app, ["ablate", "ablation=dims", *settings])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    assert (small_datasets / "CURRENT").read_text() == current
    (own,) = (path.parent for path in (small_datasets / ".variants").glob("*/manifest.json"))
    manifests = [
        json.loads((folder / "manifest.json").read_text()) for folder in (own, small_datasets / current.strip())
    ]
    assert manifests[0]["config"]["track2vec"] == manifests[1]["config"]["track2vec"] | {"dim": 3}
    assert manifests[0]["counts"] == manifests[1]["counts"] and manifests[0]["seed"] == manifests[1]["seed"]
    assert "track spaces of their own: L2 and cosine distances are not comparable" in done.output
    assert len(list(workdir.glob("variants/*/test/metrics.json"))) == 2


def trials_of(workdir: Path) -> set[str]:
    return {path.name for path in (workdir / "variants").iterdir()}


def test_a_running_matrix_keeps_its_dataset(
    ablate: Ablate, settings: list[str], small_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs, another dataset becomes the current one, and only one is to be kept."""
    datasets, config = tmp_path / "datasets", DatasetConfig(min_count=2, keep=1, track2vec=Track2VecConfig(epochs=1))
    of_matrix = prepare(small_lake, config, 1, datasets).folder
    settings.append(f"datasets={datasets}")
    run_trial = running.run_trial

    def prepare_meanwhile(trial: Trial) -> Ended:
        prepare(small_lake, config, 2, datasets)
        return run_trial(trial)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_trial", prepare_meanwhile)
        assert "report.html" in ablate("ablation=mine", "seeds=[1]")
    prepare(small_lake, config, 2, datasets)
    assert not of_matrix.exists("manifest.json")


def test_only_the_newest_matrices_keep_their_trials(ablate: Ablate, workdir: Path, ran: list[str]) -> None:
    ablate("ablation=mine", "seeds=[1]")
    mine = trials_of(workdir)
    assert len(mine) == 2
    assert "clean-up" not in ablate("ablation=other", "seeds=[1]")
    assert len(trials_of(workdir)) == 3  # FS-VAE is in both
    printed = ablate("ablation=other", "seeds=[1]", "ablation.keep=1")
    assert len(trials_of(workdir)) == 2 and len(trials_of(workdir) & mine) == 1
    assert "1 run of older matrices deleted (ablation.keep=1)" in printed
    assert len(list(workdir.glob("matrices/mine-*/report.html"))) == 1
    assert "Not done yet: Popularity, seed 1" in ablate("ablation=mine", command="report")
    assert ran == ["fsvae 1", "popularity 1", "average 1"]
    ablate("ablation=mine", "seeds=[1]")
    assert ran[3:] == ["popularity 1"]


def test_only_the_newest_datasets_of_variants_are_kept(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch, small_lake: Lake
) -> None:
    """Each matrix has one dataset of its own beside the current one."""
    matrix = (
        "reference: as it is\nbase: [recommender=average]\nvariants: {{as it is: [], own: [dataset.min_count={}]}}\n"
    )
    with_matrix(tmp_path, monkeypatch, three=matrix.format(3), four=matrix.format(4))
    monkeypatch.setattr("pipelines.ablation.matrix_page.plots", lambda results: [])
    prepare(small_lake, DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=1)), 1, tmp_path / "datasets")
    for name, keep in (("three", 1), ("four", 2), ("three", 1)):
        overrides = [f"ablation={name}", f"ablation.keep={keep}", *settings, f"datasets={tmp_path / 'datasets'}"]
        done = CliRunner().invoke(app, ["ablate", *overrides])
        assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
        kept = [json.loads(path.read_text()) for path in tmp_path.glob("datasets/.variants/*/manifest.json")]
        assert len(kept) == keep
    assert [manifest["config"]["min_count"] for manifest in kept] == [3]


def test_a_variants_dataset_has_the_days_of_the_current_one(small_lake: Lake, tmp_path: Path) -> None:
    small = DatasetConfig(min_count=2, before="2026-01-20", track2vec=Track2VecConfig(epochs=1))
    current = prepare(small_lake, small, 1, tmp_path).folder
    variant = Variant("one", [], load_config(["dataset.min_count=3"]), frozenset({"dataset.min_count"}))
    engine = LocalEngine(workers=1)
    made = variant_datasets.variant_datasets([variant], small_lake, Folder.at(tmp_path), engine, lambda what: None)
    with made as found:
        mine, theirs = (folder.read_json("manifest.json") for folder in (found["one"], current))
    assert (mine["lake"], mine["as_of_day"]) == (theirs["lake"], theirs["as_of_day"])
    assert mine["counts"]["listens"] == theirs["counts"]["listens"] and mine["config"]["min_count"] == 3


@pytest.mark.parametrize(("continued", "keys", "own"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_track_space_that_has_learned_for_longer_is_not_compared_with_others(
    continued: bool, keys: bool, own: bool
) -> None:
    """A variant that sets what the current dataset has too still gets one of its own, made from the start."""
    current = asdict(DatasetConfig(continue_space=continued))
    named = frozenset({"dataset.track2vec.dim"} if keys else ())
    found = variant_datasets._config(Variant("one", [], load_config(), named), current)
    assert (found is not None) == own
    assert found is None or not found.continue_space


def test_a_killed_matrix_goes_on(settings: list[str], workdir: Path) -> None:
    """Its first variant is done and its second one in training when the process is killed, as by a power cut."""
    overrides = ["ablation=prior", "seeds=[1]", *settings, "train.max_epochs=10", "train.patience=10"]
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()", "ablate", *overrides]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while not (done := list(workdir.glob("variants/*/test/metrics.json"))):
            assert process.poll() is None
            time.sleep(0.05)
        while len(list(workdir.glob("variants/*/checkpoints/last.ckpt"))) < 1:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    written = done[0].stat().st_mtime_ns
    result = CliRunner().invoke(app, ["ablate", *overrides])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    assert len(list(workdir.glob("variants/*/test/metrics.json"))) == 2
    assert done[0].stat().st_mtime_ns == written
    assert not list(workdir.glob("variants/*/checkpoints"))
