"""Evaluation and promotion of registered models on real data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
import torch
from plain_model import PLAIN

import pipelines.lifecycle.evaluate as evaluating
import pipelines.lifecycle.promote as promoting
from fsvae.baselines import Popularity
from fsvae.baselines.settings import AggregateSequenceConfig
from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.errors import UserError
from fsvae.evaluation.lists import train_counts
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result import EvaluationResult
from fsvae.evaluation.result_files import read_results
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.predict import NetworkPredictor
from fsvae.models.train_config import OptimiserConfig, TrainConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.recommender import Recommender
from fsvae.results_version import RESULTS_VERSION
from pipelines.config.lifecycle_config import EvaluateConfig, PromoteConfig, TrackingConfig
from pipelines.lake.lake import Lake
from pipelines.lifecycle.evaluate import evaluate, evaluate_bundle
from pipelines.lifecycle.promote import promote
from pipelines.lifecycle.train import Run, train
from pipelines.prepare.prepare import prepare
from pipelines.tracking import Tracker

MODEL = ModelConfig(
    **{**PLAIN, "softmax_weight": 5.0},
    history=16,
    slow_hidden=16,
    slow_dim=8,
    fast_hidden=16,
    latent_dim=8,
    decoder_hidden=16,
)
TRAIN = TrainConfig(refit=False, max_epochs=2, batch_listens=1024, optimiser=OptimiserConfig(learning_rate=1e-2))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def tracker(workdir: Path) -> Tracker:
    return Tracker(TrackingConfig(), workdir)


@pytest.fixture(scope="module")
def untrained(small_dataset: Dataset, tracker: Tracker, workdir: Path) -> int:
    """The version, registered first and so the champion, of a model that has learned nothing."""
    torch.manual_seed(0)
    save_bundle(workdir / "untrained", FSVAENetwork.for_dataset(small_dataset, MODEL), small_dataset, {})
    return tracker.register(tracker.start("untrained", {}), workdir / "untrained")


@pytest.fixture(scope="module")
def run(small_dataset: Dataset, workdir: Path, tracker: Tracker, untrained: int) -> Run:
    """A trained challenger."""
    return train(small_dataset, MODEL, TRAIN, 1, workdir / "runs", tracker, lambda epoch, metrics: None, False)


@pytest.fixture(scope="module")
def other_dataset(small_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same events with a smaller catalogue and other vectors."""
    config = DatasetConfig(min_count=70, track2vec=Track2VecConfig(epochs=1))
    return open_dataset(prepare(small_lake, config, 9, tmp_path_factory.mktemp("other")).folder)


@pytest.fixture(scope="module")
def results(run: Run, small_dataset: Dataset, tracker: Tracker) -> list[EvaluationResult]:
    return evaluate(run, small_dataset, EvaluateConfig(), tracker, AggregateSequenceConfig()).results


def test_every_model_is_evaluated_on_every_listen_of_the_test_period(
    results: list[EvaluationResult], small_dataset: Dataset
) -> None:
    assert [result.model for result in results] == ["Popularity", "Average", "Aggregate sequence", "FS-VAE"]
    begin = small_dataset.manifest["validation_until_us"]
    targets = np.flatnonzero(small_dataset.listens.played_at >= begin)
    assert len(targets) == small_dataset.manifest["counts"]["test_listens"] > 500
    track, played_at = small_dataset.listens.track[targets], small_dataset.listens.played_at[targets]
    outside, new = track >= small_dataset.n_catalogue, small_dataset.first_heard_at[track] == played_at
    for result in results:
        assert np.array_equal(result.targets, targets)
        assert np.array_equal(result.in_catalogue, ~outside) and np.array_equal(np.isnan(result.l2), outside)
        assert np.array_equal(result.ranks == MISS, new)
        assert result.ranks.min() >= 1 and result.ranks[~new].max() <= result.n_candidates


def test_the_files_and_the_mlflow_run_say_the_same(
    results: list[EvaluationResult], run: Run, small_dataset: Dataset, tracker: Tracker
) -> None:
    out = run.folder / "evaluation" / "test"
    names = {"metrics.md", "metrics.json", "metrics.png", "positions.parquet", "evaluation.json"}
    assert {path.name for path in out.iterdir()} == names
    stored = json.loads((out / "metrics.json").read_text())
    for result in results:
        assert stored[result.model] == pytest.approx(result.metrics())
    rows = pl.read_parquet(out / "positions.parquet")
    for result in results:
        of_model = rows.filter(pl.col("model") == result.model)
        assert of_model["user_id"].to_list() == [
            small_dataset.user_ids[small_dataset.listens.user[target]] for target in result.targets
        ]
        assert (1 / of_model["rank"]).fill_null(0).mean() == pytest.approx(result.metrics()["mrr"])
        (read,) = read_results([out])[result.model]
        assert read.metrics() == result.metrics()
    client = mlflow.MlflowClient(tracker.uri, tracker.uri)
    logged = client.get_run(run.run_id).data.metrics
    metrics = results[-1].metrics()
    assert logged["test/mrr"] == pytest.approx(metrics["mrr"])
    assert logged["test/recall_at_10_catalogue"] == pytest.approx(metrics["recall@10_catalogue"])
    assert logged["test/results_version"] == RESULTS_VERSION
    assert {item.path for item in client.list_artifacts(run.run_id, "evaluation/test")} == {
        f"evaluation/test/{name}"
        for name in names - {"evaluation.json"}  # which says that all else is there
    }
    assert "| FS-VAE |" in (out / "metrics.md").read_text()


def test_only_the_model_with_a_posterior_is_uncertain(results: list[EvaluationResult], small_dataset: Dataset) -> None:
    assert [result.uncertainty is not None for result in results] == [False, False, False, True]
    spread = results[-1].uncertainty
    assert spread is not None and np.isfinite(spread).all() and spread.min() > 0 and spread.std() > 0
    counts = small_dataset.tracks["train_count"].to_numpy()
    assert np.array_equal(train_counts(small_dataset), counts)


def test_evaluating_again_gives_the_same_figures(
    results: list[EvaluationResult], run: Run, small_dataset: Dataset
) -> None:
    again = evaluate_bundle(load_bundle(run.bundle), small_dataset, "test")
    assert np.array_equal(again.ranks, results[-1].ranks)
    assert np.array_equal(again.l2, results[-1].l2, equal_nan=True)


def test_a_model_is_the_same_on_a_dataset_with_another_catalogue(
    results: list[EvaluationResult], run: Run, small_dataset: Dataset, other_dataset: Dataset
) -> None:
    """The events are the same, so what the model sees in its own space, its ranks and its distances are too."""
    assert 20 < other_dataset.n_catalogue < small_dataset.n_catalogue - 20
    assert other_dataset.period("test") == small_dataset.period("test")
    found = evaluate_bundle(load_bundle(run.bundle), other_dataset, "test")
    assert np.array_equal(found.targets, results[-1].targets)
    assert np.array_equal(found.ranks, results[-1].ranks)
    np.testing.assert_allclose(found.l2, results[-1].l2, rtol=1e-5)


def test_tracks_that_a_models_catalogue_lacks_are_ranked_too(
    small_dataset: Dataset, other_dataset: Dataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    save_bundle(tmp_path, FSVAENetwork.for_dataset(other_dataset, MODEL), other_dataset, {})
    found = evaluate_bundle(load_bundle(tmp_path), small_dataset, "test")
    catalogue = set(other_dataset.tracks.filter("in_catalogue")["track_id"])
    ids = small_dataset.tracks["track_id"].to_list()
    lacking = np.array([ids[small_dataset.listens.track[target]] not in catalogue for target in found.targets])
    assert np.array_equal(found.in_catalogue, ~lacking) and 0.05 < lacking.mean() < 0.95
    new = small_dataset.first_heard_at[small_dataset.listens.track[found.targets]]
    assert np.array_equal(found.ranks == MISS, new == small_dataset.listens.played_at[found.targets])


def test_a_better_challenger_becomes_the_champion_and_a_worse_one_does_not(
    results: list[EvaluationResult], run: Run, untrained: int, small_dataset: Dataset, tracker: Tracker
) -> None:
    assert tracker.resolve(None) == untrained != run.version
    first = promote(tracker, run.version, small_dataset, PromoteConfig())
    assert first.promoted and (first.challenger, first.champion) == (run.version, untrained)
    assert first.challenger_value == pytest.approx(results[-1].metrics()["ndcg@10"])
    assert first.challenger_value > 1.2 * first.champion_value > 0
    assert tracker.resolve(None) == run.version

    second = promote(tracker, untrained, small_dataset, PromoteConfig())
    assert not second.promoted and (second.challenger, second.champion) == (untrained, run.version)
    assert (second.challenger_value, second.champion_value) == (first.champion_value, first.challenger_value)
    assert tracker.resolve(None) == run.version

    better, worse = (one.interval for one in (first, second))
    difference = first.challenger_value - first.champion_value
    assert 0 < better[0] < difference < better[1] and worse == pytest.approx((-better[1], -better[0]), abs=2e-3)
    with_itself = promote(tracker, run.version, small_dataset, PromoteConfig())
    assert not with_itself.promoted and with_itself.challenger == with_itself.champion == run.version
    assert tracker.resolve(None) == run.version


@pytest.mark.parametrize(
    ("mean", "interval", "learned", "promoted", "why"),
    [
        (0.02, (0.001, 0.04), 5, True, "better for sure"),
        (-0.02, (-0.04, -0.001), 9, False, "worse for sure"),
        (-0.02, (-0.04, 0.001), 9, True, "the challenger has learned later listens"),
        (0.02, (-0.001, 0.04), 5, False, "the champion has learned later listens"),
        (0.02, (-0.001, 0.04), 7, True, "the mean decides"),
        (-0.02, (-0.04, 0.001), 7, False, "the mean decides"),
        (0.0, (0.0, 0.0), 7, False, "the mean decides"),
        (-0.02, (math.nan, math.nan), 9, True, "the challenger has learned later listens"),
    ],
)
def test_the_later_of_two_models_that_cannot_be_told_apart_is_the_champion(
    mean: float, interval: tuple[float, float], learned: int, promoted: bool, why: str
) -> None:
    found, said = promoting._judged(mean, interval, learned, champion_learned=7)
    assert found == promoted and why in said


def test_a_roll_back_makes_the_champion_before_the_champion_again(run: Run, tmp_path: Path) -> None:
    tracker = Tracker(TrackingConfig(), tmp_path)
    bundle = run.bundle
    versions = [tracker.register(tracker.start(name, {}), bundle) for name in ("one", "other", "third")]
    assert tracker.champion() == versions[0]
    with pytest.raises(UserError, match="no version of the model 'fsvae' was champion before version 1"):
        tracker.roll_back()
    tracker.make_champion(versions[1])
    tracker.make_champion(versions[1])  # again, as after a rerun
    assert tracker.roll_back() == (versions[0], versions[1]) and tracker.champion() == versions[0]
    tracker.make_champion(versions[2])
    assert tracker.roll_back() == (versions[0], versions[2])
    assert [tracker.was_rolled_back(one) for one in versions] == [False, True, True]


def test_what_was_rolled_back_is_promoted_again_only_by_its_name(
    run: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    tracker = Tracker(TrackingConfig(), tmp_path / "tracked")
    torch.manual_seed(0)
    save_bundle(tmp_path / "untrained", FSVAENetwork.for_dataset(small_dataset, MODEL), small_dataset, {})
    bundles = (tmp_path / "untrained", run.bundle)
    worse, better = (tracker.register(tracker.start(bundle.name, {}), bundle) for bundle in bundles)
    tracker.make_champion(better)
    assert tracker.roll_back() == (worse, better)
    refused = promote(tracker, better, small_dataset, PromoteConfig())
    assert not refused.promoted and f"fsvae promote --version {better}" in refused.why
    assert tracker.champion() == worse
    named = promote(tracker, better, small_dataset, PromoteConfig(), even_rolled_back=True)
    assert named.promoted and tracker.champion() == better


def test_champion_and_challenger_may_have_different_catalogues(
    run: Run, small_dataset: Dataset, other_dataset: Dataset, tracker: Tracker, tmp_path: Path
) -> None:
    """A model of few tracks gains nothing by it: it has to rank the same tracks, on the champion's positions."""
    tracker.make_champion(run.version)
    torch.manual_seed(0)
    save_bundle(tmp_path / "few", FSVAENetwork.for_dataset(other_dataset, MODEL), other_dataset, {})
    few = tracker.register(tracker.start("few", {}), tmp_path / "few")
    for dataset in (small_dataset, other_dataset):
        verdict = promote(tracker, few, dataset, PromoteConfig(metric="mrr"))
        expected = evaluate_bundle(load_bundle(tmp_path / "few"), dataset, "test").metrics()["mrr"]
        assert verdict.challenger_value == pytest.approx(expected) and not verdict.promoted
        assert verdict.champion_value > verdict.challenger_value
    assert tracker.resolve(None) == run.version


def test_a_trained_model_uses_the_history(run: Run, small_dataset: Dataset, results: list[EvaluationResult]) -> None:
    """The same model without its recent listens does worse."""
    bundle = load_bundle(run.bundle)
    bundle.model.config.fast = "off"
    blind = evaluate_model(NetworkPredictor(bundle.model), small_dataset, "test")
    assert blind.metrics()["mrr"] < results[-1].metrics()["mrr"]


def test_a_model_is_not_evaluated_on_what_it_has_learned_from(
    run: Run, small_lake: Lake, small_dataset: Dataset, tracker: Tracker, untrained: int, tmp_path: Path
) -> None:
    """With earlier cuts the test period begins inside what the run was trained on."""
    config = DatasetConfig(min_count=2, train_share=0.5, validation_share=0.1, track2vec=Track2VecConfig(epochs=1))
    earlier = open_dataset(prepare(small_lake, config, 1, tmp_path).folder)
    with pytest.raises(UserError, match="has learned from listens up to"):
        evaluate_bundle(load_bundle(run.bundle), earlier, "test")
    with pytest.raises(UserError, match="was trained on dataset"):
        evaluate(run, earlier, EvaluateConfig(), tracker, AggregateSequenceConfig())
    tracker.make_champion(untrained)
    verdict = promote(tracker, run.version, earlier, PromoteConfig())  # on the listens that are new to both
    same = promote(tracker, untrained, small_dataset, PromoteConfig())
    assert verdict.promoted
    assert verdict.challenger_value == pytest.approx(same.champion_value)


def test_there_must_be_listens_that_are_new_to_both_models(
    run: Run, small_lake: Lake, tracker: Tracker, untrained: int, tmp_path: Path
) -> None:
    tracker.make_champion(untrained)
    first_weeks = DatasetConfig(min_count=2, before="2026-01-19", track2vec=Track2VecConfig(epochs=1))
    old = open_dataset(prepare(small_lake, first_weeks, 1, tmp_path).folder)
    with pytest.raises(UserError, match="nothing to compare them on"):
        promote(tracker, run.version, old, PromoteConfig())


def test_what_was_evaluated_before_is_read_and_not_computed_anew(
    results: list[EvaluationResult],
    run: Run,
    small_dataset: Dataset,
    tracker: Tracker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[str] = []

    def counted(model: Recommender, *what: Any) -> EvaluationResult:
        computed.append(model.name)
        return evaluate_model(model, *what)

    monkeypatch.setattr(evaluating, "evaluate_model", counted)
    again = evaluate(run, small_dataset, EvaluateConfig(), tracker, AggregateSequenceConfig())
    assert again.reused and computed == [] and ", as evaluated before → " in again.lines()[0]
    assert [one.metrics() for one in again.results] == [one.metrics() for one in results]
    other = evaluate(run, small_dataset, EvaluateConfig(), tracker, AggregateSequenceConfig(window=3))
    assert not other.reused and "Aggregate sequence" in computed


@pytest.fixture(scope="module")
def refitted(small_dataset: Dataset, workdir: Path, tracker: Tracker, run: Run) -> Run:
    """A challenger with a memory that has learned from training and validation together."""
    config, model = replace(TRAIN, refit=True, max_epochs=1), replace(MODEL, shared_memory=True)
    return train(small_dataset, model, config, 1, workdir / "runs", tracker, lambda epoch, metrics: None, False)


def test_the_baselines_learn_from_what_a_refitted_model_has_learned_from_and_it_has_a_live_row(
    refitted: Run, small_dataset: Dataset, tracker: Tracker, results: list[EvaluationResult]
) -> None:
    found = evaluate(refitted, small_dataset, EvaluateConfig(live=True), tracker, AggregateSequenceConfig())
    names = ["Popularity", "Average", "Aggregate sequence", "FS-VAE", "FS-VAE, live"]
    assert [result.model for result in found.results] == names
    (table,) = found.tables()
    assert "All models have learned from the training and the validation period together." in table.note
    assert "Live: everybody's part of the memory" in table.note
    popularity = Popularity().fit(small_dataset.with_validation_learned())
    expected = evaluate_model(popularity, small_dataset, "test").metrics()
    assert found.results[0].metrics() == expected != results[0].metrics()
    frozen, live = (found.results[place].metrics() for place in (3, 4))
    assert frozen != live and frozen["novelty@10"] > 0
    assert {result.dataset for result in found.results} == {small_dataset.fingerprint}
    again = evaluate(refitted, small_dataset, EvaluateConfig(live=True), tracker, AggregateSequenceConfig())
    assert again.reused and [result.model for result in again.results] == names and again.tables() == found.tables()
    plain = evaluate(refitted, small_dataset, EvaluateConfig(), tracker, AggregateSequenceConfig())
    assert not plain.reused and [result.model for result in plain.results] == names[:-1]


def test_a_refitted_model_is_not_evaluated_on_the_validation_period(
    refitted: Run, small_dataset: Dataset, tracker: Tracker
) -> None:
    with pytest.raises(UserError, match=r"from the validation period too .* fsvae train train.refit=false"):
        evaluate(refitted, small_dataset, EvaluateConfig(period="validation"), tracker, AggregateSequenceConfig())


def test_a_refitted_challenger_and_a_champion_that_is_not_are_compared_on_what_is_new_to_both(
    refitted: Run, run: Run, small_dataset: Dataset, tracker: Tracker
) -> None:
    tracker.make_champion(run.version)
    verdict = promote(tracker, refitted.version, small_dataset, PromoteConfig(metric="mrr"))
    values = [
        evaluate_bundle(load_bundle(one.bundle), small_dataset, "test").metrics()["mrr"] for one in (refitted, run)
    ]
    assert [verdict.challenger_value, verdict.champion_value] == pytest.approx(values)
    assert verdict.promoted == (verdict.interval[1] >= 0)  # it has learned from the validation period, too
