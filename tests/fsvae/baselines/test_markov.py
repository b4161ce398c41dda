"""Markov transitions, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import TEST, VECTORS, dataset, minutes, mixed

from fsvae.baselines import MarkovBlended, MarkovGlobal
from fsvae.baselines.score_based import ScoreBasedBaseline
from fsvae.baselines.settings import MarkovConfig, NoSettings
from fsvae.data.dataset import Dataset
from fsvae.evaluation.lists import NO_TRACK
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.protocol import evaluate_model
from fsvae.predictions import Predictions


def predicted(model: ScoreBasedBaseline, data: Dataset) -> Predictions:
    model.fit(data, refit=False)
    [part] = list(model.predict(data, TEST, np.iinfo(np.int64).max))
    assert part.scores is not None
    return part


def test_the_chain_of_all_users_is_that_of_training() -> None:
    data = dataset(
        # followers of 0: 1, 1, 2; of 1: 0, 0, 1 (b), 3 (b); of 2: none in training; of 3, which has no vector: 1 (b)
        a=[*minutes(0, 1, 0, 1, 0, 2, day=0), *minutes(0, 1, 2, 4, 2, day=5)],
        b=[*minutes(1, 1, 3, 1, day=1), *minutes(0, day=3), *minutes(3, 1, day=5)],
        new=minutes(2, day=6),
    )
    popularity = [3 / 10, 5 / 10, 1 / 10, 1 / 10, 0]
    part = predicted(MarkovGlobal(NoSettings()), data)
    expected = [
        popularity,  # after 2
        mixed([0, 2, 1, 0, 0], popularity),  # after 0
        mixed([2, 1, 0, 1, 0], popularity),  # after 1
        popularity,  # after 2 again: what followed it in the test period is not learned
        popularity,  # after 4, which is not in training
        mixed([0, 2, 1, 0, 0], popularity),  # b after 0
        mixed([0, 1, 0, 0, 0], popularity),  # b after 3
        popularity,  # nothing was heard before
    ]
    assert part.scores is not None
    np.testing.assert_allclose(part.scores, expected, atol=1e-6)
    np.testing.assert_allclose(part.vectors, np.array(expected)[:, :3] @ VECTORS, atol=1e-6)


BLEND = MarkovConfig(
    global_weight=1.0,
    personal_weight=2.0,
    pair_weight=4.0,
    frequency_weight=3.0,
    transition_half_life=1.0,
    frequency_half_life=1.0,
    shrinkage=1.0,
)


def test_the_blend_counts_the_users_own_listens_up_to_each_position() -> None:
    data = dataset(a=minutes(0, 1, 0, 2, 0, 1, 2, day=5), b=minutes(0, 1, day=0))
    part = predicted(MarkovBlended(BLEND), data)
    assert part.scores is not None and part.targets.tolist() == list(range(7))
    popularity = [1 / 2, 1 / 2, 0, 0, 0]
    np.testing.assert_allclose(part.scores[0], popularity, atol=1e-6)

    # before position 5: 0 1 0 2 0. Global after 0: 1 once: weight 1/2. Personal after 0, latest first: 2 (1), 1 (1/2),
    # and 1.5 counts have 1.5/2.5 of the weight. Pair (2, 0): never before. Frequency, latest first: 0 (1), 2 (1/2),
    # 0 (1/4), 1 (1/8), 0 (1/16), together 1.9375.
    global_ = np.array([0, 1, 0, 0, 0]) / 2
    personal = np.array([0, 0.5, 1, 0, 0]) / 2.5
    frequency = np.array([1.3125, 0.125, 0.5, 0, 0]) / 2.9375
    blend = global_ + 2 * personal + 3 * frequency
    np.testing.assert_allclose(part.scores[5], mixed(blend.tolist(), popularity), atol=1e-6)

    # before position 6: 0 1 0 2 0 1. Global after 1: nothing. Personal after 1: 0 once. Pair (0, 1): 0 once.
    personal = pair = np.array([1, 0, 0, 0, 0]) / 2
    frequency = np.array([0.65625, 1.0625, 0.25, 0, 0]) / 2.96875
    blend = 2 * personal + 4 * pair + 3 * frequency
    np.testing.assert_allclose(part.scores[6], mixed(blend.tolist(), popularity), atol=1e-6)


def test_a_part_of_the_blend_can_be_left_out() -> None:
    data = dataset(a=minutes(0, 1, 0, 2, 0, 1, day=5), b=minutes(0, 1, 0, 2, 2, day=0))
    alone = MarkovBlended(MarkovConfig(personal_weight=0.0, pair_weight=0.0, frequency_weight=0.0))
    np.testing.assert_allclose(
        predicted(alone, data).vectors, predicted(MarkovGlobal(NoSettings()), data).vectors, atol=1e-6
    )


def test_tracks_without_a_vector_are_contexts_and_are_recommended() -> None:
    data = dataset(a=minutes(3, 1, 3, 4, 3, 0, day=5), b=minutes(0, 2, day=0))
    only_personal = MarkovConfig(global_weight=0.0, pair_weight=0.0, frequency_weight=0.0, transition_half_life=1.0)
    part = predicted(MarkovBlended(only_personal), data)
    assert part.scores is not None
    # before position 5: 3 1 3 4 3; what followed 3 is 4, and before 1
    assert part.scores[5] == pytest.approx(mixed([0, 1 / 2, 0, 0, 1], [1 / 2, 0, 1 / 2, 0, 0]), abs=1e-6)


def test_a_track_that_is_new_since_training_is_a_miss_at_first_and_found_when_it_is_repeated() -> None:
    """Nobody has heard track 4 before position 2 (a); a hears it again at 4 and, after 0 as before, at 6.

    For b it is new at 9, when a has heard it: a candidate without any count.
    """
    data = dataset(a=[*minutes(0, 1, day=0), *minutes(4, 0, 4, 0, 4, day=6)], b=minutes(1, 0, 4, day=6))
    model = MarkovBlended(MarkovConfig())
    model.fit(data, refit=False)
    result = evaluate_model(model, data, "test")
    assert result.targets.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert result.ranks[[0, 4]].tolist() == [MISS, 1] and not result.in_catalogue[[0, 2, 4, 7]].any()
    assert result.recommended[0].tolist() == [1, 0, *[NO_TRACK] * 3]
    assert result.recommended[4][0] == 4 and result.ranks[7] == result.n_candidates == 3


def test_counts_are_the_same_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(a=minutes(0, 1, 0, 2, 0, 1, 2, 2, 1, day=5), b=minutes(0, 1, day=0))
    whole = predicted(MarkovBlended(MarkovConfig()), data).scores
    monkeypatch.setattr("fsvae.baselines.score_based._PAIRS_AT_ONCE", 1_000)  # 500 listens back: two targets
    np.testing.assert_array_equal(predicted(MarkovBlended(MarkovConfig()), data).scores, whole)
