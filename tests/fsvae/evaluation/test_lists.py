"""The recommended lists and their metrics: exact values, and what may not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_dataset import FIRST_DAY, dataset_of

from fsvae.evaluation.lists import NO_TRACK, coverage, diversity, novelty, self_information, top_k, train_counts
from fsvae.features.clock import DAY_US


def lists(rows: list[list[float]], k: int) -> list[list[int]]:
    found = top_k(np.array(rows, dtype=np.float32), k).tolist()
    assert isinstance(found, list)
    return found


def test_the_highest_scores_come_first_and_ties_by_column() -> None:
    assert lists([[0.1, 0.9, 0.5, 0.7]], 2) == [[1, 3]]
    assert lists([[1, 2, 2, 1, 2, 1]], 4) == [[1, 2, 4, 0]]  # three tie for the last place
    assert lists([[0, 0, 0, 0], [3, 2, 1, 0]], 3) == [[0, 1, 2], [0, 1, 2]]
    assert lists([[1, 1, 2]], 10) == [[2, 0, 1]]  # fewer tracks than places


def test_nan_is_last_and_counts_as_minus_infinity() -> None:
    nan, low = math.nan, -math.inf
    assert lists([[nan, 1, 2, nan], [0, 1, 2, 3]], 2) == [[2, 1], [3, 2]]
    assert lists([[nan, low, 2, nan]], 3) == [[2, 0, 1]]
    assert lists([[nan, nan]], 1) == [[0]]


def test_scores_that_may_not_be_written_to_are_read() -> None:
    scores = np.broadcast_to(np.array([1, 3, 2], dtype=np.float32), (2, 3))
    assert top_k(scores, 2).tolist() == [[1, 2], [1, 2]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 12).flatmap(
        lambda c: st.lists(
            st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -math.inf, math.nan]), min_size=c, max_size=c),
            min_size=1,
            max_size=4,
        )
    ),
    k=st.integers(1, 12),
)
def test_a_list_is_the_stable_sort_of_its_row(rows: list[list[float]], k: int) -> None:
    scores = np.array(rows, dtype=np.float32)
    lowest = np.where(np.isnan(scores), -np.inf, scores)
    assert top_k(scores, k).tolist() == np.argsort(-lowest, axis=1, kind="stable")[:, :k].tolist()


def test_coverage_novelty_and_diversity_by_hand() -> None:
    recommended = np.array([[0, 1], [1, 3], [0, 1]], dtype=np.int32)
    assert coverage(recommended, 5) == 3 / 5  # tracks 0, 1 and 3
    information = -np.log2(np.array([8, 4, 2, 2]) / 16)  # 1, 2, 3 and 3 bits
    assert novelty(recommended, information).tolist() == [1.5, 2.5, 1.5]
    unit = np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)
    three = np.array([[0, 1, 2], [0, 1, 3], [0, 0, 1]], dtype=np.int32)
    # distances of the pairs: 1, 2, 1; 1, 1, 1 (a zero vector is at distance 1); 0, 1, 1
    assert diversity(three, unit).tolist() == pytest.approx([4 / 3, 1, 2 / 3])
    assert diversity(three[:, :1], unit).tolist() == [0, 0, 0]


def test_places_without_a_candidate_count_in_no_metric() -> None:
    recommended = np.array([[0, 1, NO_TRACK], [1, NO_TRACK, NO_TRACK], [NO_TRACK] * 3], dtype=np.int32)
    assert coverage(recommended, 4) == 2 / 4
    assert novelty(recommended, np.array([1.0, 2.0, 8.0])).tolist() == [1.5, 2, 0]
    unit = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    assert diversity(recommended, unit).tolist() == [2, 0, 0]  # one pair, opposite to each other


def test_popularity_is_of_the_training_period_alone() -> None:
    day = [(FIRST_DAY + n) * DAY_US for n in range(4)]
    histories = {
        "a": [(0, day[0]), (0, day[0] + 1), (3, day[1]), (1, day[2]), (1, day[3])],
        "b": [(0, day[0]), (1, day[1])],
    }
    dataset = dataset_of(histories, np.eye(3, dtype=np.float32), day[2], day[3], outside=1)
    assert train_counts(dataset).tolist() == [3, 1, 0, 1]
    # the track without a listen counts as if it had one: 3, 1, 1 and 1 of 6
    assert self_information(dataset).tolist() == pytest.approx([1, math.log2(6), math.log2(6), math.log2(6)])


def test_item_ids_change_neither_novelty_nor_diversity() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 30)).astype(np.float32)
    unit, information = rng.normal(size=(30, 4)).astype(np.float32), rng.random(30)
    order = rng.permutation(30)

    def measured(
        scores: NDArray[np.float32], unit: NDArray[np.float32], information: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        best = top_k(scores, 10)
        return novelty(best, information), diversity(best, unit), coverage(best, 30)

    before, after = measured(scores, unit, information), measured(scores[:, order], unit[order], information[order])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
