"""Metrics of single predictions: exact values, and what may not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics import retrieval

from fsvae.evaluation.metrics import (
    MISS,
    cosine_distance,
    l2_distance,
    ndcg,
    pessimistic_ranks,
    recall,
    reciprocal_rank,
)


def ranks(scores: list[list[float]], target: list[int]) -> list[int]:
    return pessimistic_ranks(np.array(scores, dtype=np.float32), np.array(target)).tolist()


def test_distances_by_hand() -> None:
    predicted = np.array([[3, 4], [1, 0], [0, 0], [-2, 0]], dtype=np.float32)
    actual = np.array([[0, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    assert l2_distance(predicted, actual).tolist() == [5, math.sqrt(2), 1, 3]
    assert cosine_distance(predicted, actual).tolist() == [1, 1, 1, 2]
    near = cosine_distance(np.array([[1, 1]], dtype=np.float32), np.array([[5, 0]], dtype=np.float32))
    assert near[0] == pytest.approx(1 - math.sqrt(0.5), abs=1e-12)


def test_the_rank_counts_from_1_and_ties_are_against_the_target() -> None:
    row = [0.3, 0.9, 0.3, 0.1, 0.3]
    assert ranks([row] * 5, [0, 1, 2, 3, 4]) == [4, 1, 4, 5, 4]
    assert ranks([[0.5] * 4] * 2, [0, 3]) == [4, 4]


def test_nan_is_against_the_target() -> None:
    nan = math.nan
    row = [0.1, nan, 0.2, nan]
    assert ranks([row] * 4, [0, 1, 2, 3]) == [4, 4, 3, 4]
    assert ranks([row], [1]) == [4]
    assert ranks([[nan] * 3], [0]) == [3]
    assert ranks([[-math.inf, math.inf, 0.0]] * 3, [0, 1, 2]) == [3, 1, 2]


def test_ranking_metrics_by_hand() -> None:
    found = np.array([1, 2, 10, 11, 100, MISS])
    assert recall(found, 1).tolist() == [1, 0, 0, 0, 0, 0]
    assert recall(found, 10).tolist() == [1, 1, 1, 0, 0, 0]
    assert recall(found, 100).tolist() == [1, 1, 1, 1, 1, 0]
    assert reciprocal_rank(found).tolist() == [1, 0.5, 0.1, 1 / 11, 0.01, 0]
    np.testing.assert_allclose(ndcg(found, 10), [1, 1 / math.log2(3), 1 / math.log2(11), 0, 0, 0], rtol=1e-12)
    assert ndcg(np.array([3]), 10).tolist() == [0.5]


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Scores [N, C] with many ties and some NaN, targets [N], and a permutation of the items."""
    n, c = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    value = st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan])
    scores = draw(st.lists(st.lists(value, min_size=c, max_size=c), min_size=n, max_size=n))
    target = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    return np.array(scores, dtype=np.float32), np.array(target), np.array(draw(st.permutations(range(c))))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=scored())
def test_item_ids_and_the_order_of_ties_change_no_rank(
    case: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    scores, target, order = case
    found = pessimistic_ranks(scores, target)
    moved = np.argsort(order)  # item i is now at moved[i]
    assert np.array_equal(pessimistic_ranks(scores[:, order], moved[target]), found)
    for row, column, rank in zip(scores.tolist(), target.tolist(), found.tolist(), strict=True):
        before = sum(not score < row[column] for score in row)
        assert rank == before


def test_another_library_agrees() -> None:
    """torchmetrics, on scores without ties and above 0 (it drops the others); one of 300 tracks is the target."""
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(1, 301, dtype=np.float32) / 301, (200, 1)), axis=1)
    target = rng.integers(0, 300, 200)
    relevant = np.arange(300) == target[:, None]
    flat = torch.from_numpy(scores.ravel()), torch.from_numpy(relevant.ravel())
    of_row = torch.arange(200).repeat_interleave(300)
    found = pessimistic_ranks(scores, target)
    assert retrieval.RetrievalMRR()(*flat, indexes=of_row) == pytest.approx(reciprocal_rank(found).mean(), rel=1e-5)
    for k in (1, 10, 20, 100):
        assert retrieval.RetrievalRecall(top_k=k)(*flat, indexes=of_row) == pytest.approx(recall(found, k).mean())
    for k in (1, 10):
        theirs = retrieval.RetrievalNormalizedDCG(top_k=k)(*flat, indexes=of_row)
        assert theirs == pytest.approx(ndcg(found, k).mean(), rel=1e-5)
