"""Models beside a reference: every metric on every slice, with intervals, as one long table.

Shape suffixes: N targets, U users, M metrics, G groups of figures that are over the same targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError, nearest
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.result import (
    COVERAGE,
    INSIDE_METRICS,
    SPACE_METRICS,
    TARGET_METRICS,
    EvaluationResult,
    check_comparable,
    check_listens,
)
from fsvae.evaluation.significance import BootstrapConfig, bootstrap_ratios, seed_margins, user_sums
from fsvae.evaluation.slices import Slices, slices

_COLUMNS = (
    "model",
    "metric",
    "slice",
    "targets",
    "users",
    "value",
    "seed_spread",
    "seed_margin",
    "difference",
    "low",
    "high",
    "significant",
)
"""Columns of `comparison`; `targets` and `users` are the numbers that the metric is over in the slice."""


def comparison(
    results_by_model: Mapping[str, Sequence[EvaluationResult]],
    reference: str,
    dataset: Dataset,
    config: BootstrapConfig | None = None,
) -> pl.DataFrame:
    """Compare models, each with one result a seed, with one of them; a row a model, metric and slice.

    `value` is the mean over seeds, `seed_spread` their standard deviation (n - 1). `difference` is the model's value
    minus the reference's, `low` and `high` are the ends of its interval by the paired bootstrap over users, and
    `significant` says that zero is not between them. Each target's value is averaged over the seeds first: the interval
    says how much the difference between these trained models depends on the users. `seed_margin`, half the width of its
    interval over the seeds, says how much it depends on them; a model with a single result adds nothing to it.

    Null where undefined: a value on an empty slice, the spread of one seed, the margin where neither model has two, and
    the difference of the reference from itself, of coverage (which is no mean over users), and of metrics in two track
    spaces (SPACE_METRICS of two datasets).

    Raises:
        UserError: there is no such reference, or results are over different targets, or those of another dataset.
    """
    if reference not in results_by_model:
        raise UserError(
            f"There is no model {reference!r} to compare with, only {', '.join(results_by_model)}."
            + nearest(reference, results_by_model)
        )
    config = config or BootstrapConfig()
    of_reference = results_by_model[reference]
    check_comparable([*of_reference, *(one for results in results_by_model.values() for one in results)])
    first = of_reference[0]
    check_listens(first, dataset)
    cuts, users = slices(dataset, first.targets), dataset.listens.user[first.targets]
    values = _values(results_by_model, cuts)
    intervals = [
        _intervals(results, of_reference, cuts, users, config).with_columns(model=pl.lit(model))
        for model, results in results_by_model.items()
        if model != reference
    ]
    here = ("metric", "slice")
    of_all = values.filter(pl.col("model") == reference).select(
        *here, pl.col("value").alias("to"), pl.col("seed_spread").alias("to_spread")
    )
    table = values.join(_sizes(cuts, first.ranks != MISS, users), on=here, maintain_order="left")
    table = table.join(of_all, on=here, maintain_order="left")
    if intervals:
        table = table.join(pl.concat(intervals), on=["model", *here], how="left", maintain_order="left")
    else:
        table = table.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    seeds = table["model"].replace_strict({model: len(results) for model, results in results_by_model.items()})
    margins = seed_margins(
        table.select("seed_spread", "to_spread").to_numpy().T,
        np.stack([seeds.to_numpy(), np.full(len(table), len(of_reference))]),
        config.level,
    )
    return table.with_columns(
        seed_margin=pl.when(pl.col("model") != reference).then(pl.Series(margins).fill_nan(None)),
        difference=pl.when(pl.col("low").is_not_null()).then(pl.col("value") - pl.col("to")),
        significant=(pl.col("low") > 0) | (pl.col("high") < 0),
    ).select(_COLUMNS)


def _values(results_by_model: Mapping[str, Sequence[EvaluationResult]], cuts: Slices) -> pl.DataFrame:
    """Return mean and standard deviation over seeds of every metric: model, metric, slice, value, seed_spread."""
    rows = [
        (model, metric, name, value)
        for model, results in results_by_model.items()
        for name, mask in cuts.items()
        for result in results
        for metric, value in result.at(mask).metrics().items()
    ]
    frame = pl.DataFrame(rows, ["model", "metric", "slice", "value"], orient="row").fill_nan(None)
    of_seeds = pl.col("value")
    return frame.group_by("model", "metric", "slice", maintain_order=True).agg(
        of_seeds.mean(), of_seeds.std().alias("seed_spread")
    )


def _sizes(cuts: Slices, inside: NDArray[np.bool_], users: NDArray[np.int64]) -> pl.DataFrame:
    """Return the numbers of targets and users that each metric is over: metric, slice, targets, users."""
    rows = []
    for name, mask in cuts.items():
        of_all = (int(mask.sum()), len(np.unique(users[mask])))
        of_inside = (int((mask & inside).sum()), len(np.unique(users[mask & inside])))
        for metric in TARGET_METRICS:
            rows.append((metric, name, *(of_inside if metric in INSIDE_METRICS else of_all)))
        rows.append((COVERAGE, name, *of_all))
    return pl.DataFrame(rows, ["metric", "slice", "targets", "users"], orient="row")


def _intervals(
    results: Sequence[EvaluationResult],
    of_reference: Sequence[EvaluationResult],
    cuts: Slices,
    users: NDArray[np.int64],
    config: BootstrapConfig,
) -> pl.DataFrame:
    """Return the intervals of the differences that are defined: metric, slice, low, high."""
    same_space = len({result.dataset for result in (*results, *of_reference)}) == 1
    metrics = [metric for metric in TARGET_METRICS if same_space or metric not in SPACE_METRICS]
    difference_NM = np.stack(
        [
            np.mean([result.values(metric) for result in results], axis=0)
            - np.mean([result.values(metric) for result in of_reference], axis=0)
            for metric in metrics
        ],
        axis=1,
    )
    inside = of_reference[0].ranks != MISS
    group_M = np.where(np.isin(metrics, INSIDE_METRICS), 0, 1)
    sums, counts, groups = [], [], []
    for index, mask in enumerate(cuts.values()):
        over_NG = np.stack([mask & inside, mask], axis=1)
        sums.append(user_sums(np.where(over_NG[:, group_M], difference_NM, 0.0), users))
        counts.append(user_sums(over_NG.astype(np.float64), users))
        groups.append(2 * index + group_M)
    low, high = bootstrap_ratios(
        np.concatenate(sums, axis=1), np.concatenate(counts, axis=1), np.concatenate(groups), config
    )
    return pl.DataFrame(
        {
            "metric": metrics * len(cuts),
            "slice": [name for name in cuts for _ in metrics],
            "low": low,
            "high": high,
        }
    ).fill_nan(None)
