"""Evaluate: a bundle and the baselines on every test position → table, plot, Parquet, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fsvae.baselines.mean_vector import AggregateSequence, Average
from fsvae.baselines.popularity import Popularity
from fsvae.baselines.settings import AggregateSequenceConfig
from fsvae.bundle import Bundle, load_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.live import midnights
from fsvae.evaluation.metric_names import COLUMNS
from fsvae.evaluation.metrics_table import best_models, caption, markdown, plot
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result import EvaluationResult
from fsvae.evaluation.result_files import read_results, write_results
from fsvae.features.clock import utc_text
from fsvae.models.predict import NetworkPredictor
from fsvae.results_version import RESULTS_VERSION
from fsvae.storage import Folder
from pipelines.config.lifecycle_config import EvaluateConfig
from pipelines.lifecycle.train import Run
from pipelines.runtime.table import Table
from pipelines.runtime.watch import Summary
from pipelines.tracking import Tracker

_FACTS = "evaluation.json"


@dataclass(frozen=True)
class Evaluation(Summary):
    """A run's model beside the baselines."""

    results: list[EvaluationResult]
    folder: Path
    period: str
    min_count: int
    validation_learned: bool
    """Whether the models have learned from the validation period too."""
    reused: bool
    """Whether it was read from its files, as nothing had changed since it was made."""
    verb = "evaluate"

    def tables(self) -> list[Table]:
        """Return a row for each model."""
        best = best_models(self.results)
        metrics = [result.metrics() for result in self.results]
        rows = [(r.model, *(f"{m[name]:.3f}" for name in COLUMNS)) for r, m in zip(self.results, metrics, strict=True)]
        marks = {
            (row, column)
            for row, result in enumerate(self.results)
            for column, name in enumerate(COLUMNS, 1)
            if result.model in best[name]
        }
        title = f"next-track prediction, {self.period} period"
        note = caption(self.results, self.min_count, self.validation_learned)
        return [Table(title, ("model", *COLUMNS.values()), rows, note, best=marks)]

    def lines(self) -> list[str]:
        """Return the paths of its files."""
        again = ", as evaluated before" if self.reused else ""
        return [f"table, picture and every position{again} → {self.folder}"]


def evaluate(
    run: Run, dataset: Dataset, config: EvaluateConfig, tracker: Tracker, aggregate: AggregateSequenceConfig
) -> Evaluation:
    """Compare a run's model with the baselines on its own dataset; write `evaluation/` into its folder and log it.

    The baselines learn from what the model has learned from. An earlier evaluation with the same settings is read, not
    computed anew.

    Args:
        run: the run.
        dataset: the dataset that it was trained on.
        config: settings of the evaluation.
        tracker: tracker that logs the figures.
        aggregate: settings of the aggregate sequence.

    Raises:
        UserError: the dataset is not the one that the model was trained on, as the table would mix two track spaces; or
            the model has learned from the period.
    """
    bundle = load_bundle(run.bundle)
    both = bundle.validation_learned
    if bundle.info["dataset"] != (dataset.with_validation_learned() if both else dataset).fingerprint:
        raise UserError(
            f"{run.folder}: the run was trained on dataset {bundle.info['dataset']}, not on {dataset.fingerprint}. "
            "Train on the present one (fsvae train), or compare two models on it (fsvae promote)."
        )
    check_unseen(bundle, dataset, config.period)
    out = run.folder / "evaluation" / config.period
    folder, min_count = Folder.at(out), dataset.manifest["config"]["min_count"]
    facts = {"results_version": RESULTS_VERSION, "aggregate_sequence": asdict(aggregate), "live": config.live}
    if folder.exists(_FACTS) and folder.read_json(_FACTS) == facts:
        results = [result for results in read_results([out]).values() for result in results]
        return Evaluation(results, out, config.period, min_count, both, reused=True)

    results = []
    for baseline in (Popularity(), Average(), AggregateSequence(aggregate)):
        baseline.fit(dataset, refit=both)
        results.append(evaluate_model(baseline, dataset, config.period))
    results.append(evaluate_bundle(bundle, dataset, config.period))
    figures = {config.period: results[-1].metrics() | {"results_version": RESULTS_VERSION}}
    if config.live and bundle.model.has_memory:
        results.append(evaluate_bundle(bundle, dataset, config.period, refreshed_at=midnights(dataset, config.period)))
        figures[f"{config.period}_live"] = results[-1].metrics()
    folder.delete(_FACTS)  # until the rest is written
    write_results(out, results, dataset)
    folder.write("metrics.md", markdown(results, min_count, both).encode())
    folder.write_json("metrics.json", {result.model: result.metrics() for result in results})
    plot(results, out / "metrics.png")
    for prefix, values in figures.items():
        tracker.log_metrics(run.run_id, {f"{prefix}/{name}": value for name, value in values.items()})
    tracker.log_artifacts(run.run_id, out, f"evaluation/{config.period}")
    folder.write_json(_FACTS, facts)
    return Evaluation(results, out, config.period, min_count, both, reused=False)


def check_unseen(bundle: Bundle, dataset: Dataset, period: str, not_before_us: int = np.iinfo(np.int64).min) -> None:
    """Check that a model has not learned from the listens of a period, or from those of it from a time on.

    Raises:
        UserError: it has.
    """
    if bundle.learned_until(period) > max(dataset.period(period)[0], not_before_us):
        if period == "validation" and bundle.validation_learned:
            raise UserError(
                "The model has learned from the validation period too (train.refit), and cannot be evaluated on it. "
                "Train one that has not, fsvae train train.refit=false, and evaluate that."
            )
        raise UserError(
            f"The model has learned from listens up to {utc_text(bundle.learned_until(period))}, and the {period} "
            f"period begins before, at {utc_text(dataset.period(period)[0])}: its figures would be too good. Train it "
            "on this dataset: fsvae train."
        )


def evaluate_bundle(
    bundle: Bundle,
    dataset: Dataset,
    period: str,
    not_before_us: int = np.iinfo(np.int64).min,
    refreshed_at: Sequence[int] = (),
) -> EvaluationResult:
    """Evaluate a trained model on the listens of a period, in its own or another dataset.

    Args:
        bundle: the model.
        dataset: dataset whose listens are predicted.
        period: validation or test.
        not_before_us: time [us] from which on listens of the period count.
        refreshed_at: times [us] in the period at which everybody's memory is brought up to date.

    Raises:
        UserError: the model has learned from listens of the evaluation.
    """
    check_unseen(bundle, dataset, period, not_before_us)
    predictor = NetworkPredictor(bundle.model, validation_learned=bundle.validation_learned)
    predictor = predictor.refreshed(refreshed_at) if refreshed_at else predictor
    return evaluate_model(predictor, bundle.view(dataset), period, not_before_us)
