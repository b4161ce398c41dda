"""V-SKNN, worked out by hand."""

from __future__ import annotations

import pytest
from by_hand import dataset, minutes, mixed
from tiny_dataset import History

from fsvae.baselines import VSKNN
from fsvae.baselines.settings import VSKNNConfig
from fsvae.features.clock import DAY_US

# Training sessions from the oldest to the newest: {0, 1}, {1, 2}, {0, 2, 3}; no listen of any other in training.
TRAINING = {
    "a": minutes(0, 1, 0, day=0),
    "b": [(track, at + DAY_US // 2) for track, at, *_ in minutes(1, 2, day=0)],
    "c": minutes(0, 2, 3, day=1),
}
POPULARITY = [3 / 8, 2 / 8, 2 / 8, 1 / 8, 0]


def last_score(history: History, config: VSKNNConfig, **more: History) -> list[float]:
    """The scores for the last listen of a user of the test period."""
    model, data = VSKNN(config), dataset(**{**TRAINING, **more}, user=history)
    model.fit(data, refit=False)
    [part] = list(model.predict(data, history[-1][1], history[-1][1] + 1))
    assert part.scores is not None and part.targets.tolist() == [len(data.listens) - 1]
    return list(part.scores[0])


def test_similar_sessions_vote_for_their_tracks() -> None:
    """Heard 0, then 1: weights 1/2 and 1. Similarities: 3/2, 1, 1/2."""
    found = last_score(minutes(0, 1, 2, day=6), VSKNNConfig())
    assert found == pytest.approx(mixed([3 / 2 + 1 / 2, 3 / 2 + 1, 1 + 1 / 2, 1 / 2, 0], POPULARITY), abs=1e-6)


def test_only_the_most_similar_sessions_vote() -> None:
    found = last_score(minutes(0, 1, 2, day=6), VSKNNConfig(neighbours=2))
    assert found == pytest.approx(mixed([3 / 2, 3 / 2 + 1, 1, 0, 0], POPULARITY), abs=1e-6)


def test_of_equally_similar_sessions_the_later_votes() -> None:
    found = last_score(minutes(2, 0, day=6), VSKNNConfig(neighbours=1))  # {1, 2} and {0, 2, 3}, both 1
    assert found == pytest.approx(mixed([1, 0, 1, 1, 0], POPULARITY), abs=1e-6)


def test_only_the_latest_sessions_that_share_a_track_are_candidates() -> None:
    found = last_score(minutes(0, 1, 2, day=6), VSKNNConfig(sample=2))  # {0, 2, 3} and {1, 2}
    assert found == pytest.approx(mixed([1 / 2, 1, 1 + 1 / 2, 1 / 2, 0], POPULARITY), abs=1e-6)


def test_a_track_that_came_twice_counts_where_it_came_last() -> None:
    """Heard 1, 0, 1: weight 1 for the last, 2/3 for 0. Similarities: 5/3, 1, 2/3."""
    found = last_score(minutes(1, 0, 1, 2, day=6), VSKNNConfig())
    assert found == pytest.approx(mixed([5 / 3 + 2 / 3, 5 / 3 + 1, 1 + 2 / 3, 2 / 3, 0], POPULARITY), abs=1e-6)


def test_the_present_session_is_cut_to_its_latest_listens() -> None:
    found = last_score(minutes(0, 1, 2, day=6), VSKNNConfig(session_length=1))  # 1: {0, 1} and {1, 2}
    assert found == pytest.approx(mixed([1, 2, 1, 0, 0], POPULARITY), abs=1e-6)


def test_a_pause_ends_the_session_and_at_the_start_the_one_before_stands_in() -> None:
    history = [*minutes(0, day=5), *minutes(2, 1, day=6), *minutes(1, 2, day=7)]
    found = last_score(history[:-1], VSKNNConfig())  # the session before: 2 (1/2), 1 (1): similarities 1, 3/2, 1/2
    assert found == pytest.approx(mixed([1 + 1 / 2, 1 + 3 / 2, 3 / 2 + 1 / 2, 1 / 2, 0], POPULARITY), abs=1e-6)
    found = last_score(history, VSKNNConfig())  # now the session is 1 alone
    assert found == pytest.approx(mixed([1, 2, 1, 0, 0], POPULARITY), abs=1e-6)


def test_popularity_answers_where_nothing_is_known() -> None:
    assert last_score(minutes(1, day=6), VSKNNConfig()) == pytest.approx(POPULARITY, abs=1e-6)
    assert last_score(minutes(4, 1, day=6), VSKNNConfig()) == pytest.approx(POPULARITY, abs=1e-6)  # 4 is new


def test_sessions_after_training_do_not_vote() -> None:
    with_more = last_score(minutes(0, 1, 2, day=6), VSKNNConfig(), other=minutes(0, 1, 1, day=3))
    assert with_more == last_score(minutes(0, 1, 2, day=6), VSKNNConfig())
