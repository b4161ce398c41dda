"""The protocol on a dataset that is small enough to work everything out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from tiny_dataset import FIRST_DAY, dataset_of

from fsvae.data.dataset import PreparedDataset
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.protocol import evaluate
from fsvae.evaluation.report import markdown
from fsvae.features.slow import DAY_US
from fsvae.recommender import Predictions

TRAIN_UNTIL, VALIDATION_UNTIL = (FIRST_DAY + 2) * DAY_US, (FIRST_DAY + 4) * DAY_US
VECTORS = np.eye(3, dtype=np.float32)


def when(day: int) -> int:
    return (FIRST_DAY + day) * DAY_US


def data() -> PreparedDataset:
    """Two users; the test period (days 4 and later) holds the flat positions 3, 4 (outside the catalogue), 7 and 8."""
    histories = {
        "a": [(0, when(0)), (1, when(1)), (2, when(3)), (1, when(4)), (3, when(5))],
        "b": [(0, when(1)), (0, when(3)), (2, when(4)), (0, when(6))],
    }
    return dataset_of(histories, VECTORS, TRAIN_UNTIL, VALIDATION_UNTIL, outside=1)


class Fixed:
    """Predicts what it is told, in batches of its own order."""

    name = "fixed"

    def __init__(self, *batches: Predictions) -> None:
        self._batches = batches
        self.asked: list[tuple[int, int]] = []

    def fit(self, dataset: PreparedDataset) -> None: ...

    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        self.asked.append((begin_us, end_us))
        yield from self._batches


def floats(*rows: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, dtype=np.float32)


def test_every_listen_of_the_period_by_hand() -> None:
    model = Fixed(
        Predictions(np.array([7, 8]), floats([0, 0, 1], [0, 1, 0.5])),  # targets 2 and 0: ranks 1 and 3
        Predictions(np.array([4, 3]), floats([1, 1, 1], [0.6, 0.8, 0])),  # outside; 1: rank 1
    )
    outcome = evaluate(model, data(), "test")
    assert model.asked == [(VALIDATION_UNTIL, np.iinfo(np.int64).max)]
    assert outcome.targets.tolist() == [3, 4, 7, 8]
    assert outcome.ranks.tolist() == [1, MISS, 1, 3]
    l2 = [math.sqrt(0.4), math.nan, 0, 1.5]
    cosine = [0.2, math.nan, 0, 1]
    np.testing.assert_allclose(outcome.l2, l2, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(outcome.cosine, cosine, rtol=1e-6, atol=1e-7)
    metrics = outcome.metrics()
    assert metrics["l2"] == pytest.approx((math.sqrt(0.4) + 1.5) / 3)
    assert metrics["cosine"] == pytest.approx(0.4)
    assert metrics["recall@1"] == pytest.approx(2 / 3) and metrics["recall@1_all"] == pytest.approx(0.5)
    assert metrics["recall@10"] == 1 and metrics["recall@10_all"] == 0.75
    assert metrics["ndcg@10"] == pytest.approx(2.5 / 3) and metrics["ndcg@10_all"] == pytest.approx(2.5 / 4)
    assert metrics["mrr"] == pytest.approx((2 + 1 / 3) / 3) and metrics["mrr_all"] == pytest.approx((2 + 1 / 3) / 4)


def test_a_catalogue_that_grows_a_constant_prediction_gains_nothing_by_ties() -> None:
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1.0, 1.0, 1.0]] * 4)))
    assert evaluate(model, data(), "test").ranks.tolist() == [3, MISS, 3, 3]


def test_the_ranks_are_of_the_query_and_the_distances_of_the_point() -> None:
    points, queries = floats([1, 0, 0], [1, 0, 0]), floats([0, 0, 1], [0, 0, 1])
    both = Predictions(np.array([2, 6]), points, queries)  # targets 2 and 0
    outcome = evaluate(Fixed(both), data(), "validation")
    assert outcome.targets.tolist() == [2, 6]
    assert outcome.ranks.tolist() == [1, 3]
    assert outcome.l2.tolist() == [pytest.approx(math.sqrt(2)), 0]


def test_scores_rank_instead_of_nearness_each_in_its_row() -> None:
    points = floats(*[[1, 0, 0]] * 4)
    scores = floats([9, 9, 9], [0, 1, 2], [5, 6, 7], [3, 2, 1])
    rows = Predictions(np.array([4, 3, 7, 8]), points, scores=scores)  # targets: outside, 1, 2, 0
    assert evaluate(Fixed(rows), data(), "test").ranks.tolist() == [2, MISS, 1, 1]
    shared = Predictions(np.array([4, 3, 7, 8]), points, scores=floats([3, 2, 1]))
    assert evaluate(Fixed(shared), data(), "test").ranks.tolist() == [2, MISS, 3, 1]


def test_what_fits_into_memory_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points, queries = (rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2))
    part = Predictions(np.array([8, 4, 3, 7]), points, queries)
    whole = evaluate(Fixed(part), data(), "test")
    scored = evaluate(Fixed(part._replace(scores=queries @ VECTORS.T)), data(), "test")
    monkeypatch.setattr("fsvae.evaluation.protocol._SCORES_AT_ONCE", 3)
    assert np.array_equal(evaluate(Fixed(part), data(), "test").ranks, whole.ranks)
    blocks = evaluate(Fixed(part._replace(scores=queries @ VECTORS.T)), data(), "test")
    assert np.array_equal(blocks.ranks, whole.ranks) and np.array_equal(scored.ranks, whole.ranks)
    assert np.array_equal(blocks.l2, whole.l2, equal_nan=True)


def test_a_target_without_a_prediction_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="fixed left targets"):
        evaluate(Fixed(Predictions(np.array([3, 4, 7]), floats(*[[1, 0, 0]] * 3))), data(), "test")


def test_a_dataset_in_another_space_has_the_same_positions_and_other_misses() -> None:
    other = data().in_space_of(["t3", "new", "t0"], floats([0, 1], [0, -1], [1, 0]))
    assert other.listens.track.tolist() == [2, 3, 3, 3, 0, 2, 2, 3, 2]
    outcome = evaluate(Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0.5]] * 4))), other, "test")
    assert outcome.ranks.tolist() == [MISS, 2, MISS, 1]
    day = int(np.flatnonzero((other.snapshots.user == 0) & (other.snapshots.day == FIRST_DAY + 1))[0])
    assert (
        other.snapshots.features(np.array([day]))[0, -6:].tolist() == [1, 0] * 3
    )  # the listen of day 0, in the other space
    assert np.array_equal(other.snapshots.habits, data().snapshots.habits)


def test_a_dataset_in_its_own_space_is_itself() -> None:
    mine = data()
    assert mine.in_space_of(["t0", "t1", "t2"], VECTORS) is mine
    assert mine.in_space_of(["t0", "t1", "t2"], VECTORS[::-1].copy()) is not mine


def test_the_table_marks_the_best_of_each_column() -> None:
    good = evaluate(Fixed(Predictions(np.array([2, 6]), floats([0, 0, 1], [1, 0, 0]))), data(), "validation")
    model = Fixed(Predictions(np.array([2, 6]), floats([1, 0, 0], [1, 0, 0])))
    model.name = "half"
    table = markdown([good, evaluate(model, data(), "validation")], min_count=7).splitlines()
    assert table[2].startswith("| fixed | **0.000** | **0.000** | **1.000** |")
    assert table[3].startswith("| half | 0.707 | 0.500 | 0.500 |")
    assert "2 targets in the catalogue (tracks with at least 7 training listens)" in "\n".join(table)
