"""The baselines, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_dataset import FIRST_DAY, dataset_of

from fsvae.baselines import AggregateSequence, Average, LastTrack, Popularity, RecentPopularity
from fsvae.baselines.registry import MODELS
from fsvae.baselines.settings import AggregateSequenceConfig, NoSettings, RecentPopularityConfig
from fsvae.data.dataset import Dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.recommender import Recommender

VECTORS = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
POPULAR = [(3 - 1) / 6, 1 / 6]
"""The mean of the six training listens: three of track 0, one of 1, one of 2, one of 3, which has no vector."""


def when(day: int) -> int:
    return (FIRST_DAY + day) * DAY_US


def data() -> Dataset:
    histories = {
        "a": [(0, when(0)), (0, when(1)), (1, when(1) + 1), (3, when(4)), (2, when(5)), (0, when(5) + 1)],
        "b": [(3, when(0)), (0, when(1)), (2, when(1) + 1)],  # not in the test period
        "new": [(3, when(5)), (1, when(6)), (2, when(7))],  # no past in training
    }
    return dataset_of(histories, VECTORS, train_until=when(2), validation_until=when(4), outside=1)


def predicted(model: Recommender) -> dict[int, list[float]]:
    model.fit(data(), refit=False)
    found: dict[int, list[float]] = {}
    for part in model.predict(data(), when(4), np.iinfo(np.int64).max):
        found |= dict(zip(part.targets.tolist(), part.vectors.tolist(), strict=True))
    return found


def close(found: dict[int, list[float]], expected: dict[int, list[float]]) -> None:
    assert sorted(found) == sorted(expected)
    for position, point in expected.items():
        assert found[position] == pytest.approx(point, abs=1e-6), position


def test_average_is_the_mean_of_all_listens_before() -> None:
    a = {3: [2 / 3, 1 / 3], 4: [2 / 3, 1 / 3], 5: [1 / 4, 1 / 4]}  # the listen at 3 has no vector
    new = {9: POPULAR, 10: POPULAR, 11: [0, 1]}  # nothing before 9, nothing with a vector before 10
    close(predicted(Average(NoSettings())), a | new)


def test_aggregate_sequence_is_the_mean_of_the_latest_listens() -> None:
    a = {3: [1 / 2, 1 / 2], 4: [0, 1], 5: [-1, 0]}  # of the last two, one without a vector does not count
    new = {9: POPULAR, 10: POPULAR, 11: [0, 1]}
    close(predicted(AggregateSequence(AggregateSequenceConfig(2))), a | new)


def test_a_window_past_the_history_is_the_average() -> None:
    close(predicted(AggregateSequence(AggregateSequenceConfig(10))), predicted(Average(NoSettings())))


def test_last_track_ranks_by_nearness_to_the_last_track_itself_first() -> None:
    model = LastTrack(NoSettings())
    a = {3: [0, 1], 4: POPULAR, 5: [-1, 0]}  # the listen at 3 has no vector
    close(predicted(model), a | {9: POPULAR, 10: POPULAR, 11: [0, 1]})
    result = evaluate_model(model, data(), "test")
    # 5: track 0 is opposite to the last one, 2; 10: of (1/3, 1/6), 0 is the nearest, then 1; 11: 0 and 2 tie
    # behind 1; track 3 has been heard in training, and is last
    assert result.ranks.tolist() == [4, 3, 3, 4, 2, 3]


def test_recent_popularity_halves_what_is_a_half_life_older() -> None:
    """Training listens: on day 0 tracks 0 and 3; a day later 0, 1, 0, 2. Half-life: a day, but for a microsecond."""
    model = RecentPopularity(RecentPopularityConfig(half_life_days=1.0))
    close(predicted(model), {target: [(2.5 - 1) / 5, 1 / 5] for target in [3, 4, 5, 9, 10, 11]})
    [part] = list(model.predict(data(), when(4), np.iinfo(np.int64).max))
    assert part.scores is not None and part.scores.shape == (1, 4)
    np.testing.assert_allclose(part.scores[0], [0.5, 0.2, 0.2, 0.1], atol=1e-6)


def test_recent_popularity_of_a_log_that_ended_long_ago_is_not_lost() -> None:
    histories = {"a": [(0, when(0)), (1, when(1)), (1, when(4_000))]}
    dataset = dataset_of(histories, VECTORS, train_until=when(3_000), validation_until=when(3_500))
    model = RecentPopularity(RecentPopularityConfig(half_life_days=1.0))
    model.fit(dataset, refit=False)
    [part] = list(model.predict(dataset, when(3_500), np.iinfo(np.int64).max))
    assert part.scores is not None
    np.testing.assert_allclose(part.scores, [[1 / 3, 2 / 3, 0.0]], atol=1e-6)


def test_popularity_gives_everyone_the_training_mean_and_ranks_by_training_listens() -> None:
    close(predicted(Popularity(NoSettings())), dict.fromkeys([3, 4, 5, 9, 10, 11], POPULAR))
    model = Popularity(NoSettings())
    model.fit(data(), refit=False)
    result = evaluate_model(model, data(), "test")  # tracks 3, 2, 0, 3, 1, 2: counts 3 of 0; the others are tied
    assert result.ranks.tolist() == [4, 4, 1, 4, 4, 4]
    assert result.l2[2] == pytest.approx(np.hypot(2 / 3, 1 / 6))


def test_baselines_learn_from_the_training_period_alone() -> None:
    later = dataset_of(
        {"a": [(0, when(0)), (1, when(3)), (1, when(5))], "b": [(2, when(6))]},
        VECTORS,
        train_until=when(2),
        validation_until=when(4),
    )
    for model in (Popularity(NoSettings()), Average(NoSettings()), AggregateSequence(AggregateSequenceConfig())):
        model.fit(later, refit=False)
        parts = list(model.predict(later, when(6), np.iinfo(np.int64).max))
        points = {int(t): point.tolist() for part in parts for t, point in zip(part.targets, part.vectors, strict=True)}
        assert points == {3: [1, 0]}


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if not entry.neural])
def test_scores_that_are_called_probabilities_sum_to_one(name: str) -> None:
    model = MODELS[name].load()(MODELS[name].settings())
    model.fit(data(), refit=False)
    for part in model.predict(data(), when(4), np.iinfo(np.int64).max):
        assert part.normalised == (part.scores is not None)
        if part.scores is not None:
            np.testing.assert_allclose(part.scores.sum(axis=1), 1.0, atol=1e-6)
            assert (part.scores >= 0).all()
