"""Prepared datasets in memory, from a few listens that are written down in the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from plain_model import PLAIN

from fsvae.bundle import Bundle
from fsvae.data.dataset import Dataset, Snapshots
from fsvae.data.listens import Listens
from fsvae.features.clock import DAY_US
from fsvae.features.habits import Past, fold, snapshot_days
from fsvae.features.recent_days import RecentDays
from fsvae.features.slow import Events
from fsvae.features.taste import DaySums
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.online_state import UserState

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
FIRST_DAY = 20_000

History = Sequence[tuple[int, int] | tuple[int, int, float]]
"""(track index, played_at [us]) or (track index, played_at, played fraction), in order of time."""


def unit_vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random unit vectors [count, dim]."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def dataset_of(
    histories: Mapping[str, History],
    vectors: NDArray[np.float32],
    train_until: int,
    validation_until: int,
    outside: int = 0,
) -> Dataset:
    """Return the prepared dataset of some histories.

    Args:
        histories: user → listens; each user has at least one.
        vectors: [C, D] of the catalogue, which is tracks 0 .. C - 1.
        train_until: where the training period ends [us].
        validation_until: where the test period begins [us].
        outside: how many tracks C, C + 1, … there are without a vector.
    """
    rows = [row if len(row) == 3 else (*row, 1.0) for history in histories.values() for row in history]
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories.values()])]).astype(np.int64)
    listens = Listens(
        offsets,
        np.array([row[0] for row in rows], dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float32),
    )
    as_of_day = int(listens.played_at.max()) // DAY_US + 1
    user, day = snapshot_days(listens.user, listens.played_at)
    user = np.append(user, np.arange(listens.n_users))
    day = np.append(day, np.full(listens.n_users, as_of_day))
    order = np.lexsort((day, user))
    user, day = user[order], day[order]
    track = listens.track.astype(np.int64)
    events = Events(listens.user, track, track % 3, np.zeros(len(track), dtype=np.int8), listens.played_at)
    sums = DaySums.of(listens.user, listens.track, listens.played_at, vectors)
    first = int(listens.played_at.min()) // DAY_US
    habits, past = fold(Past.nothing(), events, listens.n_users, first, as_of_day, user, day)
    snapshots = Snapshots(user, day, habits, sums)
    n_tracks = len(vectors) + outside
    trained = listens.played_at < train_until
    tracks = pl.DataFrame(
        {
            "track_index": np.arange(n_tracks, dtype=np.int32),
            "track_id": [f"t{index}" for index in range(n_tracks)],
            "title": [f"Title {index}" for index in range(n_tracks)],
            "artist_id": [f"a{index % 3}" for index in range(n_tracks)],
            "artist_name": [f"Artist {index % 3}" for index in range(n_tracks)],
            "train_count": np.bincount(track[trained], minlength=n_tracks),
            "in_catalogue": np.arange(n_tracks) < len(vectors),
            "vector_origin": ["trained"] * len(vectors) + ["none"] * outside,
        }
    )
    return Dataset(
        manifest={
            "fingerprint": "tiny",
            "train_until_us": train_until,
            "validation_until_us": validation_until,
            "as_of_day": as_of_day,
            "config": {"min_count": 1},
        },
        user_ids=list(histories),
        listens=listens,
        tracks=tracks,
        vectors=vectors,
        n_catalogue=len(vectors),
        snapshots=snapshots,
        slow_row=snapshots.rows_of(listens.user, listens.played_at // DAY_US),
        recent=RecentDays.of(past),
    )


def random_histories(lengths: Sequence[int], n_tracks: int, seed: int, prefix: str = "u") -> dict[str, History]:
    """Return histories of given lengths: random tracks, pauses from seconds to days, fractions of plays."""
    rng = np.random.default_rng(seed)
    histories: dict[str, History] = {}
    for user, length in enumerate(lengths):
        pauses = rng.choice([30, 200, 1_900, 20_000, 200_000], size=length) * SECOND_US
        times = FIRST_DAY * DAY_US + int(rng.integers(0, DAY_US)) + np.cumsum(pauses)
        tracks, fractions = rng.integers(0, n_tracks, size=length), rng.random(length).astype(np.float32)
        histories[f"{prefix}{user}"] = list(
            zip(tracks.tolist(), times.tolist(), [float(fraction) for fraction in fractions], strict=True)
        )
    return histories


def pattern() -> Dataset:
    """Three users who go round and round the same five tracks, a minute a track, for 60 listens each."""
    histories = {
        f"u{user}": [((user + n) % 5, FIRST_DAY * DAY_US + user * 3_600_000_000 + n * 60_000_000) for n in range(60)]
        for user in range(3)
    }
    cut = FIRST_DAY * DAY_US + 2 * 3_600_000_000 + 40 * 60_000_000
    return dataset_of(histories, unit_vectors(5, 6), cut, np.iinfo(np.int64).max)


def random_model(dataset: Dataset, config: ModelConfig, seed: int = 0, scale: float = 0.3) -> FSVAENetwork:
    """Return a model in evaluation mode whose weights are large enough for every input to matter."""
    features = torch.from_numpy(all_slow(dataset))
    vectors = torch.from_numpy(dataset.vectors)
    moments = features.mean(dim=0), features.std(dim=0) + 0.1
    model = FSVAENetwork(config, vectors, *moments, dataset.n_catalogue)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def all_slow(dataset: Dataset) -> NDArray[np.float32]:
    """Return the slow features of all snapshots."""
    return dataset.snapshots.features(np.arange(len(dataset.snapshots.day)))


def small_config(**changes: object) -> ModelConfig:
    """Return a config of a model that is as small as it can be, with all its parts."""
    sizes: dict[str, object] = {
        **PLAIN,
        "history": 4,
        "slow_hidden": 8,
        "slow_dim": 6,
        "fast_hidden": 7,
        "latent_dim": 5,
        "decoder_hidden": 9,
        "softmax_weight": 1.0,
    }
    return ModelConfig(**{**sizes, **changes})  # type: ignore[arg-type]


def known_user(bundle: Bundle, user_id: str, at: int) -> tuple[UserState, NDArray[np.float32]] | None:
    """Return a user's state, and the slow snapshot for a request at a time [us]; None for one that is not known."""
    state, (slow,) = bundle.state(user_id), bundle.slow([user_id], [at])
    return None if state is None or slow is None else (state, slow)
