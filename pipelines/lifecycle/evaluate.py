"""Evaluate: a bundle and the baselines on every test position → table, picture, Parquet, MLflow."""

from __future__ import annotations

import numpy as np

from fsvae.baselines.mean_vector import AggregateSequence, Average
from fsvae.baselines.popularity import Popularity
from fsvae.baselines.settings import AggregateSequenceConfig, NoSettings
from fsvae.bundle import Bundle, load_bundle
from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.evaluation.metrics_table import markdown, plot
from fsvae.evaluation.protocol import evaluate
from fsvae.evaluation.result import EvaluationResult
from fsvae.evaluation.result_files import write_results
from fsvae.features.clock import utc_text
from fsvae.models.predict import NetworkRecommender
from fsvae.storage import Folder
from pipelines.lifecycle.lifecycle_config import EvaluateConfig
from pipelines.lifecycle.tracking import Tracker
from pipelines.lifecycle.train import Run


def evaluate_bundle(
    bundle: Bundle, dataset: PreparedDataset, period: str, not_before_us: int = np.iinfo(np.int64).min
) -> EvaluationResult:
    """Evaluate a trained model on the listens of a period, in a dataset that may be another than it was trained on.

    Raises:
        UserError: the model has learned from listens that it would be evaluated on.
    """
    learned_until, begin = bundle.learned_until(period), dataset.period(period)[0]
    if learned_until > max(begin, not_before_us):
        raise UserError(
            f"The model has learned from listens up to {utc_text(learned_until)}, and the {period} period begins "
            f"before, at {utc_text(begin)}: its figures would be too good. Train it on this dataset: fsvae train."
        )
    return evaluate(NetworkRecommender(bundle.model), bundle.view(dataset), period, not_before_us)


def evaluate_run(
    run: Run,
    dataset: PreparedDataset,
    config: EvaluateConfig,
    tracker: Tracker,
    aggregate: AggregateSequenceConfig | None = None,
) -> list[EvaluationResult]:
    """Compare a run's model with the baselines on its own dataset; write `evaluation/` into its folder and log it.

    Raises:
        UserError: the dataset is not the one that the model was trained on; the table would mix two track spaces.
    """
    bundle = load_bundle(run.bundle)
    if bundle.info["dataset"] != dataset.fingerprint:
        raise UserError(
            f"{run.folder}: the run was trained on dataset {bundle.info['dataset']}, not on {dataset.fingerprint}. "
            "Train on the present one (fsvae train), or compare two models on it (fsvae promote)."
        )
    results = []
    for baseline in (
        Popularity(NoSettings()),
        Average(NoSettings()),
        AggregateSequence(aggregate or AggregateSequenceConfig()),
    ):
        baseline.fit(dataset)
        results.append(evaluate(baseline, dataset, config.period))
    results.append(evaluate_bundle(bundle, dataset, config.period))

    out = run.folder / "evaluation" / config.period
    out.mkdir(parents=True, exist_ok=True)
    min_count = dataset.manifest["config"]["min_count"]
    (out / "metrics.md").write_text(markdown(results, min_count))
    Folder.at(out).write_json("metrics.json", {result.model: result.metrics() for result in results})
    plot(results, out / "metrics.png")
    write_results(out, results, dataset)
    tracker.log_metrics(run.run_id, {f"{config.period}/{name}": value for name, value in results[-1].metrics().items()})
    tracker.log_artifacts(run.run_id, out, f"evaluation/{config.period}")
    return results
