"""What is sensible for a cold user, after one listen, and for a new track.

Forty users play artists with five tracks: the first two in order, then others. Artist 0 is played most.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fsvae

START = pd.Timestamp("2026-01-01", tz="UTC")
SHARES = [0.35, 0.2, 0.15, 0.15, 0.15]
SMALL = fsvae.ModelConfig(history=16, slow_hidden=16, slow_dim=8, fast_hidden=16, latent_dim=8, decoder_hidden=16)


def plays() -> pd.DataFrame:
    """Thirty sessions a user; at the end user 0 finds a track that nobody has heard, and plays it again."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(40):
        at = START + pd.Timedelta(minutes=int(rng.integers(0, 60)))
        for artist in rng.choice(5, size=30, p=SHARES).tolist():
            for track in [0, 1, *rng.integers(2, 5, size=4).tolist()]:
                rows.append((f"u{user:02d}", f"a{artist}t{track}", at, f"artist {artist}"))
                at += pd.Timedelta(minutes=4)
            at += pd.Timedelta(hours=5)
        if user == 0:
            for _ in range(2):
                rows.append(("u00", "brand new", at, "artist new"))
                at += pd.Timedelta(hours=1)
    columns = ["user_id", "track_id", "played_at", "artist_name"]
    return pd.DataFrame(rows, columns=columns).sort_values("played_at", kind="stable")


@pytest.fixture(scope="module")
def model() -> fsvae.FSVAE:
    dataset = fsvae.Dataset.from_pandas(fsvae.read_listens(plays()))
    return fsvae.FSVAE(SMALL, fsvae.TrainConfig(max_epochs=4, batch_listens=256)).fit(dataset)


def test_a_cold_user_is_recommended_what_people_begin_with(model: fsvae.FSVAE) -> None:
    first = model.next_tracks([], k=5)["track_id"]
    assert first[0].endswith("t0") and sum(track.startswith("a0") or track.endswith("t0") for track in first) >= 4


@pytest.mark.parametrize("artist", range(5))
def test_after_one_listen_comes_what_follows_it(model: fsvae.FSVAE, artist: int) -> None:
    assert model.next_tracks([f"a{artist}t0"], k=1)["track_id"].to_list() == [f"a{artist}t1"]


def test_a_track_that_came_out_after_the_training_is_recommended_to_who_plays_it(model: fsvae.FSVAE) -> None:
    assert "brand new" in set(model.recommend(["u00"], k=5)["track_id"])
    assert "brand new" not in set(model.recommend(["u01"], k=5)["track_id"])
