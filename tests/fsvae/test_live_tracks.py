"""Tracks that are added to a served model change nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from test_three_paths import CATALOGUE, MODELS, OUTSIDE, dataset
from tiny_dataset import random_model, small_config

from fsvae.bundle import load_bundle, save_bundle
from fsvae.features.clock import DAY_US
from fsvae.live_tracks import TrackNotice
from fsvae.online_question import Answer, Question
from fsvae.online_recommender import OnlineRecommender
from fsvae.schema import DATASET_TRACKS


@pytest.mark.parametrize("name", ["two outputs", "table of its own", "memory, ranked again", "all"])
def test_a_track_without_a_place_changes_no_answer(name: str, tmp_path: Path) -> None:
    """Also of users who listen to tracks without a vector, which the model reads as any other track."""
    data = dataset(4)
    missing = [pl.lit(None, pl.String).alias(name) for name in DATASET_TRACKS.names if name not in data.tracks.columns]
    data = replace(data, tracks=data.tracks.with_columns(missing))
    save_bundle(tmp_path, random_model(data, small_config(history=4, **MODELS[name])), data, {})
    bundle = load_bundle(tmp_path)
    assert len(bundle.tracks) == CATALOGUE + OUTSIDE > len(bundle.vectors)
    told: list[TrackNotice] = []
    endpoint = OnlineRecommender(bundle, notices=lambda changed: [one for one in told if one.changed > changed])
    at = bundle.until + 40 * DAY_US
    questions = [Question(user_id, k=100, at=at) for user_id in [*bundle.user_ids, "nobody"]]

    def scores() -> list[dict[str, float]]:
        answers = [one for one in endpoint.answers(questions) if isinstance(one, Answer)]
        return [{track.track_id: track.score for track in answer.tracks} for answer in answers]

    before = scores()
    told.append(TrackNotice("unplaced", 1, added=True, title="Nothing is known of it"))
    for old, new in zip(before, scores(), strict=True):
        assert new.pop("unplaced", 0) == 0
        assert new == pytest.approx(old, abs=1e-5)
    fresh = OnlineRecommender(load_bundle(tmp_path), notices=lambda changed: told if changed == 0 else [])
    endpoint = fresh
    for old, new in zip(before, scores(), strict=True):
        new.pop("unplaced", 0)
        assert new == pytest.approx(old, abs=1e-5)
