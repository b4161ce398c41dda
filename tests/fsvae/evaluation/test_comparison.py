"""The long table of models, metrics and slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from made_results import BETTER, REFERENCE, data
from scipy import stats
from tiny_dataset import FIRST_DAY, dataset_of

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.result import SPACE_METRICS, TARGET_METRICS, EvaluationResult
from fsvae.evaluation.significance import BootstrapConfig
from fsvae.features.clock import DAY_US

CONFIG = BootstrapConfig(resamples=2_000, least_users=1)


def row(table: pl.DataFrame, model: str, metric: str, cut: str = "all") -> dict[str, object]:
    return table.row(
        by_predicate=(pl.col("model") == model) & (pl.col("metric") == metric) & (pl.col("slice") == cut), named=True
    )


def test_values_and_differences_by_hand() -> None:
    table = comparison({"better": [BETTER], "plain": [REFERENCE]}, "plain", data(), CONFIG)
    assert table.columns == [
        *("model", "metric", "slice", "targets", "users", "value", "seed_spread", "seed_margin"),
        *("difference", "low", "high", "significant"),
    ]
    assert table["model"].unique(maintain_order=True).to_list() == ["better", "plain"]
    # a: two targets half a unit nearer each; b: one that is as far. Drawn: a twice, a and b, or b twice.
    assert row(table, "better", "l2") == {
        **{"model": "better", "metric": "l2", "slice": "all", "targets": 3, "users": 2},
        **{"value": pytest.approx(2 / 3), "seed_spread": None, "seed_margin": None},
        **{"difference": pytest.approx(-1 / 3)},
        **{"low": -0.5, "high": 0.0, "significant": False},
    }
    # over all four targets: 1/1 instead of 1/2 twice for a, 1/2 instead of 1 for b; a miss either way
    mrr = row(table, "better", "mrr")
    assert (mrr["targets"], mrr["value"], mrr["difference"]) == (4, 2.5 / 4, pytest.approx(0.5 / 4))
    assert (mrr["low"], mrr["high"]) == (-0.5, pytest.approx(1 / 3))
    reference = row(table, "plain", "l2")
    assert reference["value"] == 1 and reference["difference"] is reference["low"] is reference["significant"] is None


def test_a_slice_is_of_its_targets_alone() -> None:
    table = comparison({"plain": [REFERENCE], "better": [BETTER]}, "plain", data(), CONFIG)
    repeats = row(table, "better", "recall@1", "repeat track")
    assert (repeats["targets"], repeats["users"], repeats["value"], repeats["difference"]) == (1, 1, 1, 1)
    assert (repeats["low"], repeats["high"], repeats["significant"]) == (1, 1, True)
    new = row(table, "better", "recall@1_catalogue", "new track")  # found: position 2 of a instead of 5 of b
    assert (new["targets"], new["value"], new["difference"], new["low"], new["high"]) == (2, 0.5, 0, -1, 1)
    assert row(table, "better", "recall@1", "new track")["targets"] == 3
    empty = row(table, "better", "l2", "cold users")
    assert (empty["targets"], empty["value"], empty["difference"], empty["low"]) == (0, None, None, None)


def test_coverage_is_compared_without_an_interval() -> None:
    table = comparison({"plain": [REFERENCE], "better": [BETTER]}, "plain", data(), CONFIG)
    found = row(table, "better", "coverage@10")  # tracks 0, 1 and 3 of four
    assert (found["targets"], found["value"], found["difference"], found["significant"]) == (4, 0.75, None, None)
    assert row(table, "better", "coverage@10", "cold users")["value"] is None


def test_seeds_are_averaged_target_by_target_and_their_spread_is_told_beside() -> None:
    other = replace(BETTER, l2=BETTER.l2 + 0.3)
    seeds = {"plain": [REFERENCE, REFERENCE], "better": [BETTER, other]}
    table = comparison(seeds, "plain", data(), CONFIG)
    found = row(table, "better", "l2")
    assert found["value"] == pytest.approx(2 / 3 + 0.15) and found["difference"] == pytest.approx(-1 / 3 + 0.15)
    assert found["seed_spread"] == pytest.approx(0.3 / np.sqrt(2))
    assert found["low"] == pytest.approx(-0.35) and found["high"] == pytest.approx(0.15)
    # a variance of .3² / 2, halved by the mean of two seeds: .15, and with one degree of freedom t is 12.706
    assert found["seed_margin"] == pytest.approx(12.706 * 0.15, rel=1e-4)
    plain = row(table, "plain", "l2")
    assert plain["seed_spread"] == 0 and plain["seed_margin"] is None


def test_the_margin_over_seeds_is_of_both_models_and_of_those_with_several_seeds() -> None:
    """Two seeds .1 apart have a variance of .005, their mean one of .0025; .2 apart: .02 and .01.

    Welch's degrees of freedom: (.0025 + .01)² / (.0025² + .01²) = 1.4706, for which t is 6.194 by scipy.
    """
    spread = {step: replace(REFERENCE, l2=REFERENCE.l2 + step) for step in (0.1, 0.2)}
    seeds = {"plain": [REFERENCE, spread[0.1]], "wide": [REFERENCE, spread[0.2]], "one": [BETTER]}
    table = comparison(seeds, "plain", data(), CONFIG)
    assert row(table, "wide", "l2")["seed_margin"] == pytest.approx(
        stats.t.ppf(0.975, 0.0125**2 / (0.0025**2 + 0.01**2)) * np.sqrt(0.0125)
    )
    assert row(table, "one", "l2")["seed_margin"] == pytest.approx(12.706 * 0.05, rel=1e-4)


def test_a_model_beside_itself_is_not_different() -> None:
    table = comparison({"plain": [REFERENCE], "same": [REFERENCE]}, "plain", data(), CONFIG)
    same = table.filter((pl.col("model") == "same") & (pl.col("targets") > 0) & (pl.col("metric") != "coverage@10"))
    assert (same["low"] == 0).all() and (same["high"] == 0).all() and not same["significant"].any()


def test_by_default_two_users_are_too_few() -> None:
    table = comparison({"plain": [REFERENCE], "better": [BETTER]}, "plain", data(), BootstrapConfig(resamples=10))
    assert table["low"].null_count() == table["difference"].null_count() == len(table)


def test_what_is_measured_in_two_track_spaces_is_not_compared() -> None:
    elsewhere = replace(BETTER, dataset="other vectors")
    table = comparison({"plain": [REFERENCE], "better": [elsewhere]}, "plain", data(), CONFIG)
    for metric in TARGET_METRICS:
        found = row(table, "better", metric)
        assert found["value"] is not None and (found["difference"] is None) == (metric in SPACE_METRICS), metric


def fewer_listens() -> Dataset:
    day = FIRST_DAY * DAY_US
    return dataset_of({"a": [(0, day), (0, day + 1)]}, np.eye(4, dtype=np.float32), day, day)


def test_only_what_was_evaluated_on_the_same_listens_is_compared() -> None:
    for wrong, message in (
        (replace(BETTER, positions="others"), "better .* and plain .* were evaluated on different listens"),
        (BETTER.at(np.array([True, True, True, False])), "dataset tiny, 3 targets.* different listens"),
        (replace(BETTER, in_catalogue=np.ones(4, dtype=np.bool_)), "different catalogues: prepare both datasets"),
    ):
        with pytest.raises(UserError, match=message):
            comparison({"plain": [REFERENCE], "better": [wrong]}, "plain", data(), CONFIG)
    for other in (replace(data(), user_ids=["a", "c"]), fewer_listens()):
        with pytest.raises(UserError, match="plain was evaluated on dataset tiny, and dataset tiny has other listens"):
            comparison({"plain": [REFERENCE]}, "plain", other, CONFIG)
    with pytest.raises(UserError, match=r"no model 'plian' .* Did you mean 'plain'"):
        comparison({"plain": [REFERENCE]}, "plian", data(), CONFIG)


def test_the_reference_alone_is_a_table_too() -> None:
    table = comparison({"plain": [REFERENCE]}, "plain", data(), CONFIG)
    assert row(table, "plain", "mrr_catalogue")["value"] == pytest.approx(2 / 3)
    assert table["significant"].null_count() == len(table)


def with_nats(result: EvaluationResult, *nats: float) -> EvaluationResult:
    came = result.ranks == 1
    return replace(result, nats=np.array(nats), first_p=np.array([0.5, 0.5, 1.0, 1.0]), first_came=came)


def test_nats_are_compared_over_the_targets_that_could_come() -> None:
    """The third target is a miss. Differences: 1 and 1 of a, 3 of b."""
    better, plain = with_nats(BETTER, 1, 2, np.nan, 3), with_nats(REFERENCE, 2, 3, np.nan, 6)
    table = comparison({"better": [better], "plain": [plain]}, "plain", data(), CONFIG)
    nats = row(table, "better", "nats")
    assert (nats["targets"], nats["value"], nats["difference"]) == (3, 2, pytest.approx(-5 / 3))
    assert (nats["low"], nats["high"], nats["significant"]) == (-3, -1, True)
    # of the two with p = .5 both came first, of those with 1 the last one
    error = row(table, "better", "calibration_error")
    assert error["value"] == pytest.approx(better.metrics()["calibration_error"]) and error["difference"] is None


@pytest.mark.parametrize("reference", ["plain", "told"])
def test_models_with_probabilities_stand_beside_those_without(reference: str) -> None:
    told = with_nats(BETTER, 1, 2, np.nan, 3)
    table = comparison({"told": [told, told], "plain": [REFERENCE]}, reference, data(), CONFIG)
    assert row(table, "told", "nats")["value"] == 2 and row(table, "told", "nats")["difference"] is None
    assert not len(table.filter((pl.col("model") == "plain") & (pl.col("metric") == "nats")))
    assert row(table, "told", "l2")["value"] == pytest.approx(2 / 3)
