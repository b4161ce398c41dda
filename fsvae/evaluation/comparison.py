"""Models beside a reference: every metric on every slice, with intervals, as one long table.

Shape suffixes: N targets, U users, M metrics, G groups of figures that are over the same targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError, nearest
from fsvae.evaluation.result import (
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
    the difference of the reference from itself, of coverage and the calibration error (which are no means over users),
    of metrics in two track spaces (SPACE_METRICS of two datasets), and of `nats` where one of the two has none.

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
    cuts, users, inside = slices(dataset, first.targets), dataset.listens.user[first.targets], first.in_catalogue
    over = [np.ones_like(inside), inside, first.could_come]
    sizes = {name: [_size(mask & part, users) for part in over] for name, mask in cuts.items()}
    to = _means(of_reference, cuts)
    rows = []
    for model, results in results_by_model.items():
        intervals = {} if model == reference else _intervals(results, of_reference, cuts, users, config)
        for (name, metric), (value, spread) in _means(results, cuts).items():
            size = sizes[name][_group(metric)]
            ends = intervals.get((name, metric), (None, None))
            beside = to.get((name, metric), (None, None))  # a reference without probabilities
            rows.append((model, metric, name, *size, len(results), value, spread, *beside, *ends))
    schema: dict[str, Any] = dict.fromkeys(("model", "metric", "slice"), pl.String)
    schema |= dict.fromkeys(("targets", "users", "seeds"), pl.Int64)
    schema |= dict.fromkeys(("value", "seed_spread", "to", "to_spread", "low", "high"), pl.Float64)
    table = pl.DataFrame(rows, schema, orient="row").fill_nan(None)
    margins = seed_margins(
        table.select("seed_spread", "to_spread").to_numpy().T,
        np.stack([table["seeds"].to_numpy(), np.full(len(table), len(of_reference))]),
        config.level,
    )
    return table.with_columns(
        seed_margin=pl.when(pl.col("model") != reference).then(pl.Series(margins).fill_nan(None)),
        difference=pl.when(pl.col("low").is_not_null()).then(pl.col("value") - pl.col("to")),
        significant=(pl.col("low") > 0) | (pl.col("high") < 0),
    ).select(_COLUMNS)


def _group(metric: str) -> int:
    """Return what a metric is over: 0 for all targets, 1 for those in the catalogue, 2 for those that could come."""
    return 1 if metric in INSIDE_METRICS else 2 if metric == "nats" else 0


def _size(mask: NDArray[np.bool_], users: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many targets there are, and of how many users."""
    return int(mask.sum()), len(np.unique(users[mask]))


def _means(results: Sequence[EvaluationResult], cuts: Slices) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the mean over seeds and their standard deviation (n - 1) of each (slice, metric); NaN where none is."""
    found = {}
    for name, mask in cuts.items():
        of_seeds = [result.at(mask).metrics() for result in results]
        for metric in of_seeds[0]:
            values = np.array([metrics.get(metric, float("nan")) for metrics in of_seeds])
            found[name, metric] = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return found


def _intervals(
    results: Sequence[EvaluationResult],
    of_reference: Sequence[EvaluationResult],
    cuts: Slices,
    users: NDArray[np.int64],
    config: BootstrapConfig,
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the interval of the difference of each (slice, metric) that can be told."""
    same_space = len({result.dataset for result in (*results, *of_reference)}) == 1
    metrics = [metric for metric in TARGET_METRICS if same_space or metric not in SPACE_METRICS]
    if all(result.nats is not None for result in (*results, *of_reference)):
        metrics.append("nats")
    means = [
        np.stack([np.mean([one.values(metric) for one in some], axis=0) for metric in metrics], axis=1)
        for some in (results, of_reference)
    ]
    inside, could_come = of_reference[0].in_catalogue, of_reference[0].could_come
    group_M = np.array([_group(metric) for metric in metrics])
    sums, counts, groups = [], [], []
    for index, mask in enumerate(cuts.values()):
        over_NG = np.stack([mask, mask & inside, mask & could_come], axis=1)
        sums.append(user_sums(np.where(over_NG[:, group_M], means[0] - means[1], 0.0), users))
        counts.append(user_sums(over_NG.astype(np.float64), users))
        groups.append(3 * index + group_M)
    ends = bootstrap_ratios(
        np.concatenate(sums, axis=1), np.concatenate(counts, axis=1), np.concatenate(groups), config
    )
    keys = [(name, metric) for name in cuts for metric in metrics]
    return dict(zip(keys, zip(*(end.tolist() for end in ends), strict=True), strict=True))
