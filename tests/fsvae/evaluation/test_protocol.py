"""The protocol on a dataset that is small enough to work everything out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_dataset import FIRST_DAY, dataset_of

from fsvae.data.dataset import Dataset
from fsvae.evaluation.lists import NO_TRACK
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.metrics_table import markdown
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.predictions import Predictions

TRAIN_UNTIL, VALIDATION_UNTIL = (FIRST_DAY + 2) * DAY_US, (FIRST_DAY + 4) * DAY_US
VECTORS = np.eye(3, dtype=np.float32)


def when(day: int) -> int:
    return (FIRST_DAY + day) * DAY_US


def data() -> Dataset:
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

    def fit(self, dataset: Dataset) -> None: ...

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        self.asked.append((begin_us, end_us))
        yield from self._batches


def floats(*rows: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, dtype=np.float32)


def test_every_listen_of_the_period_by_hand() -> None:
    model = Fixed(
        Predictions(np.array([7, 8]), floats([0, 0, 1], [0, 1, 0.5])),  # targets 2 and 0: ranks 1 and 3
        Predictions(np.array([4, 3]), floats([1, 1, 1], [0.6, 0.8, 0])),  # outside; 1: rank 1
    )
    result = evaluate_model(model, data(), "test")
    assert model.asked == [(VALIDATION_UNTIL, np.iinfo(np.int64).max)]
    assert result.targets.tolist() == [3, 4, 7, 8]
    assert result.ranks.tolist() == [1, MISS, 1, 3]
    l2 = [math.sqrt(0.4), math.nan, 0, 1.5]
    cosine = [0.2, math.nan, 0, 1]
    np.testing.assert_allclose(result.l2, l2, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(result.cosine, cosine, rtol=1e-6, atol=1e-7)
    metrics = result.metrics()
    assert metrics["l2"] == pytest.approx((math.sqrt(0.4) + 1.5) / 3)
    assert metrics["cosine"] == pytest.approx(0.4)
    assert metrics["recall@1_catalogue"] == pytest.approx(2 / 3) and metrics["recall@1"] == pytest.approx(0.5)
    assert metrics["recall@10_catalogue"] == 1 and metrics["recall@10"] == 0.75
    assert metrics["ndcg@10_catalogue"] == pytest.approx(2.5 / 3) and metrics["ndcg@10"] == pytest.approx(2.5 / 4)
    assert metrics["mrr_catalogue"] == pytest.approx((2 + 1 / 3) / 3)
    assert metrics["mrr"] == pytest.approx((2 + 1 / 3) / 4)


def test_a_catalogue_that_grows_a_constant_prediction_gains_nothing_by_ties() -> None:
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1.0, 1.0, 1.0]] * 4)))
    assert evaluate_model(model, data(), "test").ranks.tolist() == [3, MISS, 3, 3]


def test_the_ranks_are_of_the_query_and_the_distances_of_the_point() -> None:
    points, queries = floats([1, 0, 0], [1, 0, 0]), floats([0, 0, 1], [0, 0, 1])
    both = Predictions(np.array([2, 6]), points, queries)  # targets 2 and 0
    result = evaluate_model(Fixed(both), data(), "validation")
    assert result.targets.tolist() == [2, 6]
    assert result.ranks.tolist() == [MISS, 2]  # heard for the first time; the other of two candidates ties
    assert result.l2.tolist() == [pytest.approx(math.sqrt(2)), 0]


def test_scores_rank_instead_of_nearness_each_in_its_row() -> None:
    points = floats(*[[1, 0, 0]] * 4)
    scores = floats([9, 9, 9], [0, 1, 2], [5, 6, 7], [3, 2, 1])
    rows = Predictions(np.array([4, 3, 7, 8]), points, scores=scores)  # targets: outside, 1, 2, 0
    assert evaluate_model(Fixed(rows), data(), "test").ranks.tolist() == [2, MISS, 1, 1]
    shared = Predictions(np.array([4, 3, 7, 8]), points, scores=floats([3, 2, 1]))
    assert evaluate_model(Fixed(shared), data(), "test").ranks.tolist() == [2, MISS, 3, 1]


def test_what_nobody_has_heard_yet_is_neither_recommended_nor_a_competitor() -> None:
    """Track 3, heard for the first time at position 4, has the highest score throughout."""
    scores = floats(*[[1, 2, 3, 9]] * 4)
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=scores))
    found = evaluate_model(model, data(), "test")
    assert found.ranks.tolist() == [2, MISS, 1, 4]
    assert found.recommended.tolist() == [*[[2, 1, 0, NO_TRACK]] * 3, [3, 2, 1, 0]]
    assert scores[0].tolist() == [1, 2, 3, 9]  # the model's own stay as they are
    assert found.n_candidates == 4


def test_a_candidate_without_a_score_is_below_every_other_and_ties_with_its_like() -> None:
    """Of four candidates two have a score, the lowest there is among them."""
    histories = {"a": [(0, when(0)), (1, when(0)), (2, when(1)), (3, when(1)), (3, when(4)), (0, when(5))]}
    dataset = dataset_of(histories, np.eye(2, dtype=np.float32), TRAIN_UNTIL, VALIDATION_UNTIL, outside=2)
    points = floats([1, 0], [1, 0])
    found = evaluate_model(
        Fixed(Predictions(np.array([4, 5]), points, scores=floats([-9, 0], [-9, 0]))), dataset, "test"
    )
    assert found.ranks.tolist() == [4, 2] and found.recommended.tolist() == [[1, 0, 2, 3]] * 2
    near = evaluate_model(Fixed(Predictions(np.array([4, 5]), -points)), dataset, "test")
    assert near.ranks.tolist() == [4, 2] and near.recommended.tolist() == [[1, 0, 2, 3]] * 2
    lost = evaluate_model(Fixed(Predictions(np.array([4, 5]), points, scores=floats([-np.inf] * 2))), dataset, "test")
    assert lost.ranks.tolist() == [4, 4]


def test_probabilities_are_measured_at_the_targets_that_could_come_and_for_the_first_track() -> None:
    """Of tracks 1, outside, 2 and 0, a thousandth of even odds mixed in; tracks 0 to 2 were heard before, then all."""
    p = floats([0.5, 0.25, 0.25, 0], [0.5, 0.25, 0.25, 0], [0, 0, 1, 0], [0, 0.5, 0.5, 0])
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=p, normalised=True))
    found = evaluate_model(model, data(), "test")
    assert found.nats is not None and found.first_p is not None
    expected = [
        -math.log(0.999 * 0.25 + 0.001 / 3),
        math.nan,
        -math.log(0.999 + 0.001 / 3),
        -math.log(0.001 / 4),
    ]
    np.testing.assert_allclose(found.nats, expected, rtol=1e-6)
    assert found.first_p.tolist() == [0.5, 0.5, 1, 0.5]
    metrics = found.metrics()
    assert metrics["nats"] == pytest.approx(np.nanmean(expected))
    # tied probabilities share a group: of three with .5 none came first (p .5, share 0), the one with 1 did
    assert metrics["calibration_error"] == pytest.approx((3 * 0.5 + 0) / 4)
    assert found.at(np.array([True, True, False, False])).metrics()["nats"] == pytest.approx(expected[0])
    scored = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=p))
    assert "nats" not in evaluate_model(scored, data(), "test").metrics()


def test_a_probability_of_nan_is_none_at_all() -> None:
    p = floats(*[[math.nan] * 4] * 4)
    found = evaluate_model(
        Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=p, normalised=True)), data(), "test"
    )
    assert found.nats is not None and found.first_p is not None
    np.testing.assert_allclose(found.nats, [-math.log(0.001 / 3), math.nan, -math.log(0.001 / 3), -math.log(0.001 / 4)])
    assert found.first_p.tolist() == [0, 0, 0, 0]


def test_a_first_track_that_came_is_right_even_if_another_ties_with_it() -> None:
    p = floats([0.5, 0.5, 0, 0])
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=p, normalised=True))
    found = evaluate_model(model, data(), "test")  # targets 1, outside, 2 and 0; track 0 is listed first
    assert found.ranks.tolist() == [2, MISS, 3, 2]
    assert found.first_came is not None and found.first_came.tolist() == [False, False, False, True]


def test_a_score_of_nan_ranks_behind_all_candidates_and_no_further() -> None:
    nan = floats([math.nan] * 4)
    found = evaluate_model(
        Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=nan)), data(), "test"
    )
    assert found.ranks.tolist() == [3, MISS, 3, 4]


def test_what_fits_into_memory_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points, queries = (rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2))
    part = Predictions(np.array([8, 4, 3, 7]), points, queries)
    whole = evaluate_model(Fixed(part), data(), "test")
    scored = evaluate_model(Fixed(part._replace(scores=queries @ VECTORS.T)), data(), "test")
    monkeypatch.setattr("fsvae.evaluation.protocol._SCORES_AT_ONCE", 3)
    assert np.array_equal(evaluate_model(Fixed(part), data(), "test").ranks, whole.ranks)
    blocks = evaluate_model(Fixed(part._replace(scores=queries @ VECTORS.T)), data(), "test")
    assert np.array_equal(blocks.ranks, whole.ranks) and np.array_equal(scored.ranks, whole.ranks)
    assert np.array_equal(blocks.l2, whole.l2, equal_nan=True)


def test_many_small_parts_are_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    order = np.array([8, 4, 3, 7])
    points, queries = (rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2))
    whole = Predictions(order, points, queries, uncertainty=floats([1, 2, 3, 4])[0])
    parts = [
        Predictions(order[i:j], points[i:j], queries[i:j], uncertainty=floats([1, 2, 3, 4])[0, i:j])
        for i, j in ((0, 1), (1, 1), (1, 4))
    ]
    expected = evaluate_model(Fixed(whole), data(), "test")
    assert expected.uncertainty is not None and expected.uncertainty.tolist() == [3, 2, 4, 1]
    for scores_at_once in (1 << 24, 9, 6, 3):  # all four targets at once, three, two, one
        monkeypatch.setattr("fsvae.evaluation.protocol._SCORES_AT_ONCE", scores_at_once)
        found = evaluate_model(Fixed(*parts), data(), "test")
        for field in fields(found):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)


def test_the_lists_and_their_metrics_by_hand() -> None:
    """Training listens: track 0 twice, track 1 once, the others as if once: 2/5 and 1/5 of them.

    Track 3 is heard at position 4 and a candidate at 8 alone, without a score.
    """
    dataset = data()
    scores = floats([3, 2, 1], [0, 1, 1], [2, 2, 2], [1, 3, 2])
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=scores))
    found = evaluate_model(model, dataset, "test")
    assert found.recommended.tolist() == [[0, 1, 2, NO_TRACK], [1, 2, 0, NO_TRACK], [0, 1, 2, NO_TRACK], [1, 2, 0, 3]]
    rare, popular = math.log2(5), math.log2(5 / 2)
    assert found.novelty.tolist() == pytest.approx([(popular + 2 * rare) / 3] * 3 + [(popular + 3 * rare) / 4])
    assert found.diversity.tolist() == [1] * 4  # the three vectors are orthogonal, and track 3 has none
    assert found.ranks.tolist() == [2, MISS, 3, 3]  # 7: all tie, so the target is last, though not in the list
    assert found.metrics()["coverage@10"] == 1


def test_coverage_is_of_all_lists_and_novelty_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsvae.evaluation.protocol.LIST_LENGTH", 1)
    points = floats([1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0])
    found = evaluate_model(Fixed(Predictions(np.array([3, 4, 7, 8]), points)), data(), "test")
    assert found.recommended.tolist() == [[0], [1], [1], [0]]
    assert found.novelty.tolist() == pytest.approx([math.log2(5 / 2), math.log2(5), math.log2(5), math.log2(5 / 2)])
    assert found.diversity.tolist() == [0] * 4
    assert found.metrics()["coverage@10"] == pytest.approx(2 / 4)
    first = found.at(np.array([True, False, False, True]))
    assert first.targets.tolist() == [3, 8] and first.metrics()["coverage@10"] == pytest.approx(1 / 4)
    assert first.metrics()["novelty@10"] == pytest.approx(math.log2(5 / 2))


def test_a_shared_row_of_scores_is_one_list_for_all() -> None:
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4), scores=floats([1, 3, 3])))
    assert evaluate_model(model, data(), "test").recommended.tolist() == [*[[1, 2, 0, NO_TRACK]] * 3, [1, 2, 0, 3]]


def in_another_space() -> Dataset:
    """The data as a model sees it that has a catalogue of t3, a track of its own, and t0."""
    tracks = data().tracks[[3, 1, 0]]
    tracks = tracks.with_columns(track_id=pl.Series(["t3", "new", "t0"]), in_catalogue=pl.lit(True))
    return data().in_space_of(tracks, floats([0, 1], [0, -1], [1, 0]))


def test_the_checksum_names_the_listens_and_not_the_track_space() -> None:
    model = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0]] * 4)))
    other = in_another_space()
    same = evaluate_model(model, other, "test").positions
    plain = Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0, 0]] * 4)))
    assert evaluate_model(plain, data(), "test").positions == same
    assert evaluate_model(plain, replace(data(), user_ids=["a", "c"]), "test").positions != same
    moved = data().listens
    moved = replace(moved, played_at=moved.played_at + np.eye(9, dtype=np.int64)[4])
    assert evaluate_model(plain, replace(data(), listens=moved), "test").positions != same


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    coordinates=st.lists(st.integers(-1, 1), min_size=3 * 7, max_size=3 * 7),
    order=st.permutations(range(3)),
    scored=st.booleans(),
)
def test_item_ids_change_nothing(coordinates: list[int], order: list[int], scored: bool) -> None:
    """Vectors of -1, 0 and 1 make many ties, and sums that are exact in any order."""
    both = np.array(coordinates, dtype=np.float32).reshape(7, 3)
    vectors, points = both[:3], both[3:]
    dataset = replace(data(), vectors=vectors)
    renamed = np.argsort([*order, 3]).astype(np.int32)
    moved = replace(
        dataset, vectors=vectors[order], listens=dataset.listens.with_tracks(renamed[dataset.listens.track])
    )
    positions = np.array([3, 4, 7, 8])
    scores = (points @ vectors.T, points @ vectors[order].T) if scored else (None, None)
    before = evaluate_model(Fixed(Predictions(positions, points, scores=scores[0])), dataset, "test")
    after = evaluate_model(Fixed(Predictions(positions, points, scores=scores[1])), moved, "test")
    for name in ("ranks", "l2", "cosine"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name), name)


def test_a_target_without_a_prediction_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="fixed left targets"):
        evaluate_model(Fixed(Predictions(np.array([3, 4, 7]), floats(*[[1, 0, 0]] * 3))), data(), "test")


def test_a_dataset_in_another_space_has_the_same_positions_and_candidates() -> None:
    other = in_another_space()
    assert other.tracks["track_id"].to_list() == ["t3", "new", "t0", "t1", "t2"]
    assert other.listens.track.tolist() == [2, 3, 4, 3, 0, 2, 2, 4, 2]
    result = evaluate_model(Fixed(Predictions(np.array([3, 4, 7, 8]), floats(*[[1, 0.5]] * 4))), other, "test")
    assert result.ranks.tolist() == [3, MISS, 3, 1]  # of t0, t1 and t2, the latter without a score; then of t3 too
    assert result.in_catalogue.tolist() == [False, True, False, True]
    # the catalogue is t3 and new, and t3, not yet heard at its first listen, is no candidate there either
    assert result.catalogue_ranks.tolist() == [MISS, MISS, MISS, 1]
    assert result.n_candidates == 4  # not the model's own track, which nobody has heard here
    day = int(np.flatnonzero((other.snapshots.user == 0) & (other.snapshots.day == FIRST_DAY + 1))[0])
    assert (
        other.snapshots.features(np.array([day]))[0, -6:].tolist() == [1, 0] * 3
    )  # the listen of day 0, in the other space
    assert np.array_equal(other.snapshots.habits, data().snapshots.habits)


def test_a_dataset_in_its_own_space_is_itself() -> None:
    mine = data()
    assert mine.in_space_of(mine.tracks[:3], VECTORS) is mine
    assert mine.in_space_of(mine.tracks[:3], VECTORS[::-1].copy()) is not mine


def test_the_table_marks_the_best_of_each_column() -> None:
    good = evaluate_model(Fixed(Predictions(np.array([2, 6]), floats([0, 0, 1], [1, 0, 0]))), data(), "validation")
    model = Fixed(Predictions(np.array([2, 6]), floats([0, 0, 1], [0, 1, 0])))
    model.name = "half"
    table = markdown(
        [good, evaluate_model(model, data(), "validation")], min_count=7, validation_learned=False
    ).splitlines()
    assert table[2].startswith("| fixed | **0.000** | **0.000** | **0.500** |")
    assert table[3].startswith("| half | 0.707 | 0.500 | 0.000 |")
    assert "the 2 targets in the trained catalogue (tracks with at least 7 training listens)" in " ".join(table)
    lists = table.index("| model | coverage@10 | novelty@10, bits | diversity@10 |")
    assert table[lists + 2 : lists + 4] == ["| fixed | 1.000 | 1.822 | 1.000 |", "| half | 1.000 | 1.822 | 1.000 |"]
