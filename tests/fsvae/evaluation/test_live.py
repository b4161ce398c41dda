"""Live evaluation: what others heard is known the day after, and never before it was heard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny_dataset import FIRST_DAY, dataset_of, random_model, small_config, unit_vectors

import fsvae
from fsvae.data.dataset import Dataset
from fsvae.evaluation.live import MOST_REFRESHES, midnights
from fsvae.features.clock import DAY_US, HOUR_US
from fsvae.memory.supports import remember
from fsvae.models.predict import NetworkPredictor
from fsvae.models.train_config import TrainConfig

START = FIRST_DAY * DAY_US
NEW = 3
MEMORY = dict.fromkeys(("slow_memory", "fast_memory", "shared_memory"), True)


def data(days: int = 3, new: int = NEW) -> Dataset:
    """`first` hears a new track at noon of the second day of the test period; `other` plays on all day long."""
    hours = range(0, (4 + days) * 24, 6)
    other = [(hour // 6 % 3, START + hour * HOUR_US + 1) for hour in hours]
    first = [(0, START), (1, START + HOUR_US), (new, START + 5 * DAY_US + 12 * HOUR_US)]
    cuts = START + 3 * DAY_US, START + 4 * DAY_US + 3 * HOUR_US
    return dataset_of({"first": first, "other": other}, unit_vectors(3, 6), *cuts, outside=1)


def test_the_refreshes_are_the_midnights_of_the_period_at_most_32_of_them() -> None:
    assert midnights(data(), "test") == [START + 5 * DAY_US, START + 6 * DAY_US]
    assert midnights(data(), "validation") == [START + 3 * DAY_US, START + 4 * DAY_US]
    found = np.array(midnights(data(days=100), "test"))
    assert len(found) == MOST_REFRESHES and (found % DAY_US == 0).all()
    assert (found[0], found[-1]) == (START + 5 * DAY_US, START + 103 * DAY_US)
    assert set(np.diff(found) // DAY_US) == {3, 4}


def scores_of_new(dataset: Dataset, refreshed_at: list[int], validation_learned: bool) -> dict[int, float]:
    """The score of the new track before each of the listens of `other` in the test period, by their times."""
    frozen = NetworkPredictor(random_model(data(), small_config(**MEMORY)), validation_learned=validation_learned)
    predictor = frozen.refreshed(refreshed_at) if refreshed_at else frozen
    assert predictor.name == ("FS-VAE, live" if refreshed_at else "FS-VAE")
    found = {}
    for part in predictor.predict(dataset, *dataset.period("test")):
        assert part.scores is not None
        for target, scores in zip(part.targets, part.scores, strict=True):
            if dataset.listens.user[target] == 1:
                found[int(dataset.listens.played_at[target])] = float(scores[NEW])
    return found


@pytest.mark.parametrize("validation_learned", [False, True])
def test_a_new_track_counts_for_others_from_the_day_after_on_and_never_before(validation_learned: bool) -> None:
    """`other` is told of it by comparison with a log in which `first` plays something else instead."""
    heard, not_heard = data(), data(new=0)
    for refreshed_at, known_from in ((midnights(heard, "test"), START + 6 * DAY_US), ([], 1 << 62)):
        ours = scores_of_new(heard, refreshed_at, validation_learned)
        without = scores_of_new(not_heard, refreshed_at, validation_learned)
        assert len(ours) == 11 and ours.keys() == without.keys()
        for at, score in ours.items():
            assert score > without[at] if at >= known_from else score == without[at]
    live = remember(heard, midnights(heard, "test"), tables_from=heard.period("test")[0]).tables
    assert [bool(tables.heard[NEW]) for _, tables in live] == [False, False, True]


def test_a_model_with_a_memory_has_a_second_row_that_is_live() -> None:
    dataset = data()
    train = TrainConfig(max_epochs=1, batch_listens=64)
    models = [fsvae.baselines.Popularity().fit(dataset), fsvae.FSVAE(small_config(**MEMORY), train).fit(dataset)]
    found = fsvae.evaluate(models, dataset, live=True)
    assert found["model"].unique().tolist() == ["Popularity", "FS-VAE", "FS-VAE, live"]
    plain = fsvae.evaluate(models, dataset)
    kept = found[found["model"] != "FS-VAE, live"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, plain)
