"""A variant with a seed: named by what it is made of, run once, and gone on with where it was interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filelock import FileLock
from small_matrix import SMALL

import pipelines.ablation.variant as variants
from fsvae.baselines import Popularity
from fsvae.data.dataset import open_dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.results_version import RESULTS_VERSION
from fsvae.storage import Folder
from pipelines.ablation.variant import Trial, run_trial
from pipelines.config.compose import load_config


def trial_of(folder: Path, datasets: Path, *overrides: str, seed: int = 1) -> Trial:
    dataset = Folder.at(datasets / (datasets / "CURRENT").read_text().strip())
    return Trial(load_config(["model=paper", *SMALL, *overrides]), seed, dataset, folder)


@pytest.fixture(scope="module")
def undisturbed(small_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A trial that is done."""
    trial = trial_of(tmp_path_factory.mktemp("variants"), small_datasets)
    assert run_trial(trial).error == ""
    return trial


def test_what_it_is_made_of_names_it_and_nothing_else_does(undisturbed: Trial, small_datasets: Path) -> None:
    def name(*overrides: str, seed: int = 1) -> str:
        return trial_of(Path(), small_datasets, *overrides, seed=seed).name

    assert name() == undisturbed.name
    assert name("evaluate.live=true") == name()
    assert name("evaluate.period=validation", "engine.workers=3", "seed=9", "baselines.jodie.hidden=7") == name()
    different = [name(seed=2), name("model.beta=0.7"), name("train.patience=1"), name("recommender=gru4rec")]
    assert len({name(), *different}) == 5
    assert name("recommender=average", seed=2) == name("recommender=average", "train.patience=1")
    elsewhere = replace(undisturbed, dataset=Folder.at("datasets/other"))
    assert elsewhere.name != undisturbed.name


def test_what_it_learns_from_names_it(small_datasets: Path) -> None:
    """A model learns from the validation period too only where it is evaluated on another one."""
    for recommender in ("fsvae", "average"):
        name = {
            (refit, period): trial_of(
                Path(),
                small_datasets,
                f"recommender={recommender}",
                f"train.refit={refit}",
                f"evaluate.period={period}",
            ).name
            for refit in ("true", "false")
            for period in ("test", "validation")
        }
        assert name["true", "validation"] == name["false", "validation"] == name["false", "test"]
        assert name["true", "test"] != name["false", "test"]


def test_a_refitted_trial_without_a_memory_has_two_fits(small_datasets: Path, tmp_path: Path) -> None:
    trial = trial_of(tmp_path, small_datasets, "train.refit=true", "train.max_epochs=1")
    assert run_trial(trial).error == "" and trial.stored.done
    stored, curves = trial.stored, trial.stored.curves()
    assert curves is not None and curves["epoch"].to_list() == [1] and curves["val/l2"].null_count() == 0
    assert stored.summary()["epochs"] == 2
    second = pl.read_parquet(stored.folder / "refit_curves.parquet")
    assert second["epoch"].to_list() == [1] and "train/loss" in second.columns and "val/l2" not in second.columns


def test_a_refitted_trial_with_a_memory_has_one_fit_and_is_evaluated_live_too(
    undisturbed: Trial, small_datasets: Path, tmp_path: Path
) -> None:
    memory = ("model.shared_memory=true", "model.softmax_weight=1", "train.max_epochs=1")
    trial = trial_of(tmp_path, small_datasets, "train.refit=true", "evaluate.live=true", *memory)
    assert run_trial(trial).error == "" and trial.stored.done
    stored = trial.stored
    assert stored.summary()["epochs"] == 1 and not (stored.folder / "refit_curves.parquet").exists()
    assert stored.made_of()["train"]["refit"] is True and undisturbed.stored.made_of()["train"]["refit"] is False
    frozen, live = stored.result("mine"), stored.result("mine, live", live=True)
    assert (frozen.model, live.model) == ("mine", "mine, live")
    assert frozen.dataset == live.dataset == undisturbed.stored.result("other").dataset
    assert frozen.metrics() != live.metrics()
    plain = trial_of(tmp_path, small_datasets, "train.refit=true", *memory)
    assert plain.name == trial.name and plain.stored.done and not plain.stored.live


def test_a_counting_baseline_of_a_matrix_learns_from_both_periods(small_datasets: Path, tmp_path: Path) -> None:
    trial = trial_of(tmp_path, small_datasets, "recommender=popularity", "train.refit=true", "evaluate.live=true")
    assert run_trial(trial).error == "" and not trial.stored.live
    dataset = open_dataset(small_datasets)
    expected = evaluate_model(Popularity().fit(dataset.with_validation_learned()), dataset, "test")
    assert trial.stored.result("mine").metrics() == pytest.approx(expected.metrics(), nan_ok=True)


def test_results_of_an_older_version_of_the_code_do_not_count_as_done(
    undisturbed: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replace(undisturbed).stored.done
    monkeypatch.setattr("pipelines.ablation.recommenders.RESULTS_VERSION", RESULTS_VERSION + 1)
    assert not replace(undisturbed).stored.done
    baseline = replace(undisturbed, config=load_config(["recommender=popularity"]))
    newer = baseline.name
    monkeypatch.setattr("pipelines.ablation.recommenders.RESULTS_VERSION", RESULTS_VERSION)
    assert replace(baseline).name != newer


def test_its_folder_tells_all_of_it(undisturbed: Trial) -> None:
    stored = undisturbed.stored
    assert stored.done and stored.made_of() == undisturbed.made_of
    result, summary, curves, use = stored.result("mine"), stored.summary(), stored.curves(), stored.latent()
    assert result.model == "mine" and summary["metrics"] == pytest.approx(result.metrics(), nan_ok=True)
    assert curves is not None and curves["epoch"].to_list() == [1, 2] and summary["epochs"] == 2
    assert curves["val/l2"].null_count() == curves["train/loss"].null_count() == 0
    assert use is not None and len(use.kl_Z) == 4 and use.kl_Z.min() > 0
    assert sorted(path.name for path in stored.folder.iterdir() if path.name[0] != ".") == [
        "curves.parquet",
        "model.safetensors",
        "test",
        "variant.json",
    ]


def test_what_is_done_is_not_done_again(undisturbed: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_run", lambda trial: pytest.fail("it ran again"))
    assert run_trial(undisturbed).error == ""


def test_another_period_needs_no_training(
    undisturbed: Trial, small_datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.ablation.recommenders.trained", lambda *_, **__: pytest.fail("it was trained again"))
    other = trial_of(undisturbed.variants, small_datasets, "evaluate.period=validation")
    assert run_trial(other).error == "" and other.stored.done
    assert other.stored.summary()["metrics"]["l2"] != undisturbed.stored.summary()["metrics"]["l2"]
    assert other.stored.summary()["epochs"] == 2


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    undisturbed: Trial, small_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    add = variants._Curves.add

    def interrupt(self: Any, epoch: int, metrics: dict[str, float]) -> None:
        told.append(epoch)
        if told == [1, 2]:
            raise SystemError("the power is gone")
        add(self, epoch, metrics)

    monkeypatch.setattr(variants._Curves, "add", interrupt)
    trial = trial_of(tmp_path, small_datasets)
    ended = run_trial(trial)
    assert "the power is gone" in ended.error and "error.txt" in ended.error and not trial.stored.done
    assert "Traceback" in (trial.stored.folder / "error.txt").read_text()
    assert (trial.stored.folder / "checkpoints" / "last.ckpt").exists()

    assert run_trial(trial).error == "" and told == [1, 2, 2]
    assert not (trial.stored.folder / "error.txt").exists()
    assert trial.stored.summary()["metrics"] == pytest.approx(undisturbed.stored.summary()["metrics"], nan_ok=True)
    curves, expected = trial.stored.curves(), undisturbed.stored.curves()
    assert curves is not None and expected is not None and curves["val/l2"].equals(expected["val/l2"])


def test_two_processes_do_not_run_the_same_one(small_datasets: Path, tmp_path: Path) -> None:
    trial = trial_of(tmp_path, small_datasets, "recommender=popularity")
    trial.stored.folder.mkdir(parents=True)
    with FileLock(trial.stored.folder / ".lock"):
        assert "another run of this very variant is at work here" in run_trial(trial).error
    assert not trial.stored.done
    assert run_trial(trial).error == "" and trial.stored.curves() is None and trial.stored.latent() is None


def test_what_can_be_mended_is_said_in_one_sentence(small_datasets: Path, tmp_path: Path) -> None:
    trial = replace(trial_of(tmp_path, small_datasets), dataset=Folder.at(tmp_path / "nowhere"))
    ended = run_trial(trial)
    assert "no prepared dataset there" in ended.error and not (trial.stored.folder / "error.txt").exists()
