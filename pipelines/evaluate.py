"""Evaluate: a bundle and the baselines on every test position → table, picture, Parquet, MLflow."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fsvae.baselines import AggregateSequence, Average, Popularity
from fsvae.bundle import Bundle, load_bundle
from fsvae.data.dataset import PreparedDataset
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.protocol import Outcome, evaluate
from fsvae.evaluation.report import markdown, plot
from fsvae.models.predict import FSVAERecommender
from pipelines.files import write_json
from pipelines.tracking import Tracker
from pipelines.train import Run


@dataclass
class EvaluateConfig:
    """What is compared, and on what."""

    period: str = "test"
    """validation or test."""
    aggregate_window: int = 10
    """Listens that Aggregate sequence averages."""


def evaluate_bundle(bundle: Bundle, dataset: PreparedDataset, period: str) -> Outcome:
    """Evaluate a trained model on a dataset, which may be another than it was trained on."""
    return evaluate(FSVAERecommender(bundle.model), bundle.view(dataset), period)


def evaluate_run(run: Run, dataset: PreparedDataset, config: EvaluateConfig, tracker: Tracker) -> list[Outcome]:
    """Compare a run's model with the baselines; write `evaluation/` into its folder and log it."""
    outcomes = []
    for baseline in (Popularity(), Average(), AggregateSequence(config.aggregate_window)):
        baseline.fit(dataset)
        outcomes.append(evaluate(baseline, dataset, config.period))
    outcomes.append(evaluate_bundle(load_bundle(run.bundle), dataset, config.period))

    out = run.folder / "evaluation"
    out.mkdir(exist_ok=True)
    min_count = dataset.manifest["config"]["min_count"]
    (out / "metrics.md").write_text(markdown(outcomes, min_count))
    write_json(out / "metrics.json", {outcome.model: outcome.metrics() for outcome in outcomes})
    plot(outcomes, out / "metrics.png")
    positions(outcomes, dataset).write_parquet(out / "positions.parquet")
    tracker.log_metrics(
        run.run_id, {f"{config.period}/{name}": value for name, value in outcomes[-1].metrics().items()}
    )
    tracker.log_artifacts(run.run_id, out, "evaluation")
    return outcomes


def positions(outcomes: list[Outcome], dataset: PreparedDataset) -> pl.DataFrame:
    """Return one row a target with every model's rank (null: a miss) and distances, for further analysis."""
    targets = outcomes[0].targets
    user_ids, track_ids = pl.Series(dataset.user_ids), dataset.tracks["track_id"]
    columns: dict[str, object] = {
        "user_id": user_ids.gather(dataset.listens.user[targets]),
        "played_at": pl.Series(dataset.listens.played_at[targets]).cast(pl.Datetime("us", "UTC")),
        "track_id": track_ids.gather(dataset.listens.track[targets]),
    }
    for outcome in outcomes:
        rank = pl.Series(outcome.ranks)
        columns[f"{outcome.model} rank"] = rank.set(rank == MISS, None)
        columns[f"{outcome.model} l2"] = outcome.l2
        columns[f"{outcome.model} cosine"] = outcome.cosine
    return pl.DataFrame(columns)
