"""The log of long histories (`simulate=long`), with fewer users on fewer days, busier and with shorter spells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fsvae.features.clock import DAY_US
from pipelines.config.compose import load_config
from pipelines.reports.describe.statistics import Bools, Histories
from pipelines.simulation.simulate import simulate

DAYS = 34
LATEST = 100
"""Number of listens behind which a track is old."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    folder = tmp_path_factory.mktemp("long")
    long = load_config(["simulate=long"]).simulate
    few = replace(long, users=12, tracks=16_000, artists=1_200, days=DAYS, new_users=0.0)
    fast = replace(
        few,
        sessions_per_day=4.0,
        activity_spread=0.0,
        session_spread=0.3,
        library=replace(long.library, spell_days=10.0),
    )
    simulate(fast, folder)
    rows = pl.read_parquet(folder / "*.parquet", columns=["user_id", "track_id", "played_at", "kind"])
    return Histories.of(rows.filter(pl.col("kind") == "listen"))


def test_the_longer_the_history_the_more_comes_from_long_ago(log: Histories) -> None:
    def mix(rows: Bools) -> tuple[float, float, float]:
        """The shares of listens to new tracks, to those among the latest listens, and to older ones alone."""
        since = log.since[rows]
        assert len(since) > 5000
        new, older = float((since == 0).mean()), float((since > LATEST).mean())
        return new, 1.0 - new - older, older

    new, latest, older = mix((log.n_before >= 200) & (log.n_before < 1000))
    assert 0.14 < new < 0.32 and 0.38 < latest < 0.60 and 0.18 < older < 0.38
    new_later, latest_later, older_later = mix(log.n_before >= 1000)
    assert 0.10 < new_later < new and 0.28 < latest_later < latest - 0.03 and older + 0.1 < older_later < 0.6


def test_old_tracks_come_back_after_weeks(log: Histories) -> None:
    again = np.flatnonzero(log.since > 0)
    away = (log.at[again] - log.at[again - log.since[again]]) / DAY_US
    assert 0.02 < (away >= 14).mean() < 0.3


def test_what_users_play_changes_over_weeks(log: Histories) -> None:
    """Days that are one week apart have more tracks in common than days that are four weeks apart.

    In common: chance that a listen of the one day and a listen of the other are to the same track. Both are longer ago
    than the latest listens.
    """
    assert log.counts.min() / DAYS > LATEST / 5
    day = (log.at - log.at.min()) // DAY_US
    shared, pairs = np.zeros(DAYS + 1), np.zeros(DAYS + 1)
    for first, end in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        tracks, place = np.unique(log.track[first:end], return_inverse=True)
        counts = np.zeros((DAYS + 1, len(tracks)))
        np.add.at(counts, (day[first:end], place), 1)
        for apart in range(DAYS):
            shared[apart] += np.trace(counts @ counts.T, apart)
            pairs[apart] += np.trace(np.outer(counts.sum(axis=1), counts.sum(axis=1)), apart)
    weeks = [(shared[days : days + 7].sum() / pairs[days : days + 7].sum()) for days in (5, 26)]
    assert weeks[0] > 1.1 * weeks[1]


def test_what_was_found_together_is_played_again_in_its_order(log: Histories) -> None:
    """An old track is often followed by the one that followed it the time before, and hardly by the one before it."""
    old = np.flatnonzero((log.since > LATEST) & (log.n_before < log.counts[log.user] - 1))
    before = old - log.since[old]
    onwards = (log.track[before + 1] == log.track[old + 1]).mean()
    backwards = (log.track[before - 1] == log.track[old + 1])[log.n_before[before] > 0].mean()
    assert onwards > 0.12 and onwards > 3 * backwards
