"""What holds for every baseline that a config can name: no leakage, one pass, bounded blocks, plain configs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import OmegaConf
from tiny_dataset import FIRST_DAY, History, dataset_of, random_histories, unit_vectors

from fsvae.baselines.registry import MODELS
from fsvae.baselines.score_based import ScoreBasedBaseline
from fsvae.data.dataset import Dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.recommender import Recommender

BASELINES = [name for name, entry in MODELS.items() if not entry.neural]
TRACKS, OUTSIDE = 9, 2
VECTORS = unit_vectors(TRACKS, 4)
HISTORIES = random_histories([60, 35, 50, 4], TRACKS + OUTSIDE, seed=3)
TIMES = np.sort(np.array([row[1] for history in HISTORIES.values() for row in history]))
TRAIN_UNTIL, VALIDATION_UNTIL = int(TIMES[len(TIMES) // 2]), int(TIMES[2 * len(TIMES) // 3])


def world(histories: dict[str, History]) -> Dataset:
    return dataset_of(histories, VECTORS, TRAIN_UNTIL, VALIDATION_UNTIL, outside=OUTSIDE)


def fitted(name: str, dataset: Dataset) -> Recommender:
    entry = MODELS[name]
    model: Recommender = entry.load()(entry.settings())
    model.fit(dataset, refit=False)
    return model


@dataclass(frozen=True)
class Answer:
    point: NDArray[np.float32]
    scores: NDArray[np.float32]


def answers(model: Recommender, dataset: Dataset, begin_us: int) -> dict[tuple[str, int], Answer]:
    """What is predicted for each (user, how many listens before) from a time on."""
    found = {}
    for part in model.predict(dataset, begin_us, np.iinfo(np.int64).max):
        scores = part.vectors @ VECTORS.T if part.scores is None else part.scores
        for n, target in enumerate(part.targets.tolist()):
            key = dataset.user_ids[dataset.listens.user[target]], int(dataset.listens.n_before[target])
            found[key] = Answer(part.vectors[n], scores[n if len(scores) > 1 else 0])
    return found


def same(one: Answer, other: Answer) -> None:
    np.testing.assert_allclose(other.point, one.point, atol=1e-6)
    np.testing.assert_allclose(other.scores, one.scores, atol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
@settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(t=st.sampled_from(TIMES[TIMES >= TRAIN_UNTIL].tolist()), seed=st.integers(0, 2**32 - 1))
def test_what_happens_from_t_on_moves_no_prediction_up_to_t(name: str, t: int, seed: int) -> None:
    """Who listens at t does so in both worlds, but to something else; what comes later is other listens, and users."""
    rng = np.random.default_rng(seed)
    changed: dict[str, History] = {}
    for user, history in HISTORIES.items():
        past = [row for row in history if row[1] < t]
        at_t = [((row[0] + 1) % (TRACKS + OUTSIDE), row[1]) for row in history if row[1] == t]
        later = np.sort(t + rng.integers(1, 3 * DAY_US, size=rng.integers(1, 20))).tolist()
        future = [(int(rng.integers(0, TRACKS + OUTSIDE)), at) for at in later]
        changed[user] = [*past, *at_t, *future]
    changed["later"] = [(1, t + 1), (2, t + 2)]
    base, other = world(HISTORIES), world(changed)
    expected = answers(fitted(name, base), base, TRAIN_UNTIL)
    found = answers(fitted(name, other), other, TRAIN_UNTIL)
    upto = [
        (user, n) for user, history in HISTORIES.items() for n, row in enumerate(history) if TRAIN_UNTIL <= row[1] <= t
    ]
    assert upto
    for key in upto:
        same(expected[key], found[key])


@pytest.mark.parametrize("name", BASELINES)
def test_one_pass_is_what_each_position_gives_alone(name: str) -> None:
    """Alone: the user's listens up to the target, and of others those of the training period."""
    dataset = world(HISTORIES)
    together = answers(fitted(name, dataset), dataset, TRAIN_UNTIL)
    training = {user: [row for row in history if row[1] < TRAIN_UNTIL] for user, history in HISTORIES.items()}
    assert len(together) > 60
    for user, n in sorted(together)[::7]:
        alone = world({other: rows for other, rows in training.items() if rows} | {user: HISTORIES[user][: n + 1]})
        at = HISTORIES[user][n][1]
        same(together[user, n], answers(fitted(name, alone), alone, at)[user, n])


@pytest.mark.parametrize("name", [name for name in BASELINES if issubclass(MODELS[name].load(), ScoreBasedBaseline)])
def test_the_size_of_the_blocks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = world(HISTORIES)
    model = fitted(name, dataset)
    whole = answers(model, dataset, TRAIN_UNTIL)
    monkeypatch.setattr(ScoreBasedBaseline, "rows_at_once", 7)
    assert max(len(part.targets) for part in model.predict(dataset, TRAIN_UNTIL, FIRST_DAY * DAY_US * 2)) == 7
    for key, answer in answers(model, dataset, TRAIN_UNTIL).items():
        same(whole[key], answer)


@pytest.mark.parametrize("name", BASELINES)
def test_every_target_of_the_test_period_is_evaluated(name: str) -> None:
    dataset = world(HISTORIES)
    metrics = evaluate_model(fitted(name, dataset), dataset, "test").metrics()
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("name", BASELINES)
def test_a_config_can_be_a_structured_config(name: str) -> None:
    entry = MODELS[name]
    config = OmegaConf.to_object(OmegaConf.structured(entry.settings))
    assert isinstance(config, entry.settings) and config == entry.settings()
    entry.load()(config)


def test_names_in_tables_differ() -> None:
    assert len({entry.load().name for entry in MODELS.values()}) == len(MODELS)
