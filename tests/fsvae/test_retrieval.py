"""Search: exact by hand and against a full sort; the graph search of large catalogues against the exact one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tiny_dataset import unit_vectors

from fsvae.retrieval import TrackIndex


def nearest(query: list[float], vectors: NDArray[np.float32], k: int) -> tuple[list[int], list[float]]:
    found, scores = TrackIndex(vectors, approximate_from=1_000).nearest(np.array(query, dtype=np.float32), k)
    return found.tolist(), scores.tolist()


def test_the_nearest_by_hand_best_first() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    best, scores = nearest([0, 5], vectors, 3)
    assert best == [1, 2, 0]
    np.testing.assert_allclose(scores, [1, 0.8, 0], atol=1e-7)


def test_ties_are_by_track_index_at_the_border_too() -> None:
    vectors = np.array([[0, 1], [1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    for k, expected in ((1, [1]), (2, [1, 2]), (4, [1, 2, 4, 0]), (5, [1, 2, 4, 0, 3])):
        assert nearest([2, 0], vectors, k)[0] == expected


def test_no_more_than_there_are_and_a_zero_query_is_near_to_nothing() -> None:
    best, scores = nearest([0, 0, 0], unit_vectors(5, 3), 99)
    assert best == [0, 1, 2, 3, 4] and scores == [0] * 5


def test_the_first_k_are_those_of_a_full_sort() -> None:
    vectors = unit_vectors(500, 8)
    for query in unit_vectors(20, 8, seed=1):
        best, scores = nearest((7 * query).tolist(), vectors, 25)
        assert best == np.argsort(-(vectors @ query), kind="stable")[:25].tolist()
        np.testing.assert_allclose(scores, vectors[best] @ query, atol=1e-6)


def test_the_graph_search_finds_nearly_all_of_the_nearest_and_scores_them_exactly() -> None:
    vectors = unit_vectors(1_000, 16)
    graph = TrackIndex(vectors, approximate_from=1_000)
    hits = 0
    for query in unit_vectors(20, 16, seed=1):
        found, scores = graph.nearest(3 * query, 10)
        exact, _ = TrackIndex(vectors, approximate_from=1_001).nearest(query, 10)
        hits += len(set(found.tolist()) & set(exact.tolist()))
        np.testing.assert_allclose(scores, vectors[found] @ query, atol=1e-6)
        assert (np.diff(scores) <= 0).all() and len(set(found.tolist())) == 10
    assert hits >= 190
