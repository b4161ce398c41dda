"""The champion's honest figure of a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from fsvae.bundle import save_bundle
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.predict import NetworkPredictor
from fsvae.prepare.dataset_config import DatasetConfig
from pipelines.config.lifecycle_config import TrackingConfig
from pipelines.lake.lake import Lake
from pipelines.lifecycle.measure import measure
from pipelines.prepare.prepare import prepare
from pipelines.tracking import Tracker

CONFIG = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=1))
MODEL = ModelConfig(history=4, slow_hidden=4, fast_hidden=4, latent_dim=4, ranked=20)


@pytest.fixture(scope="module")
def days(small_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset, date]:
    """The dataset up to the day before the last one, that up to the last one in the same track space, and that day."""
    last = date.fromisoformat(max(small_lake.manifest.days))
    folder = tmp_path_factory.mktemp("days")
    made = []
    for before in (last, last + timedelta(days=1)):
        config = replace(CONFIG, before=before.isoformat(), continue_space=True)
        made.append(open_dataset(prepare(small_lake, config, 1, folder).folder))
    return made[0], made[1], last


def test_the_champion_is_measured_on_the_day_with_the_memory_that_it_is_served_with(
    days: tuple[Dataset, Dataset, date], tmp_path: Path
) -> None:
    yesterday, today, last = days
    tracker = Tracker(TrackingConfig(), tmp_path)
    assert measure(tracker, today, last) is None
    torch.manual_seed(0)
    network = FSVAENetwork.for_dataset(yesterday, MODEL)
    save_bundle(tmp_path / "bundle", network, yesterday, {})
    version = tracker.register(tracker.start("one", {}), tmp_path / "bundle")
    found = measure(tracker, today, last)
    assert found is not None and found.version == version and found.day == last

    begin = (last - date(1970, 1, 1)).days * DAY_US
    view = today.in_space_of(yesterday.tracks, yesterday.vectors)
    whole = evaluate_model(NetworkPredictor(network.eval()).refreshed([begin]), view, "test")
    of_day = whole.at(today.listens.played_at[whole.targets] >= begin)
    assert found.targets == len(of_day.targets) == (today.listens.played_at >= begin).sum() > 0
    assert found.metrics == pytest.approx(of_day.metrics(), nan_ok=True)
    frozen = evaluate_model(NetworkPredictor(network.eval()), view, "test")
    assert not np.array_equal(frozen.ranks[-found.targets :], of_day.ranks)

    run = tracker.run_of(version)
    measure(tracker, today, last)  # again, as after a kill
    (logged,) = tracker._client.get_metric_history(run, "day/ndcg_at_10")
    assert logged.value == pytest.approx(found.metrics["ndcg@10"]) and logged.step == begin // DAY_US
    assert f"of {last}, not learned: NDCG@10 {logged.value:.3f}" in found.lines()[0]


def test_a_day_that_was_learned_or_has_no_listens_is_not_measured(
    days: tuple[Dataset, Dataset, date], tmp_path: Path
) -> None:
    _, today, last = days
    tracker = Tracker(TrackingConfig(), tmp_path)
    save_bundle(tmp_path / "bundle", FSVAENetwork.for_dataset(today, MODEL), today, {})
    tracker.register(tracker.start("one", {}), tmp_path / "bundle")
    first = measure(tracker, today, last - timedelta(days=9))
    assert first is not None and "it has learned from listens of the day" in first.lines()[0] and not first.metrics
    later = measure(tracker, today, last + timedelta(days=1))
    assert later is not None and "the test period holds no listen of it" in later.lines()[0]
