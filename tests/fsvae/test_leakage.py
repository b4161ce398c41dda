"""No leakage: changing what happens at or after a time t moves nothing that was there before t."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_dataset import all_slow, random_model, small_config, unit_vectors

from fsvae.baselines import MarkovBlended
from fsvae.candidates import Candidates
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.features.clock import DAY_US
from fsvae.features.fast import listen_features, request_features
from fsvae.features.habits import habits
from fsvae.features.sessions import previous_times
from fsvae.features.slow import Events
from fsvae.features.taste import DaySums
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.predict import NetworkPredictor
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.schema import KINDS
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare

START = datetime(2026, 1, 5, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
DAYS, TRACKS, USERS = 9, 14, 6
TRAIN_UNTIL, VALIDATION_UNTIL = START_US + 5 * DAY_US + DAY_US // 3, START_US + 7 * DAY_US
CONFIG = DatasetConfig(
    min_count=2,
    train_until=datetime.fromtimestamp(TRAIN_UNTIL / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    validation_until=datetime.fromtimestamp(VALIDATION_UNTIL / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    track2vec=Track2VecConfig(epochs=1),
)

Row = tuple[str, int, int, str, int | None]
"""user, track, played_at [us], kind, ms played."""


def random_rows(rng: np.random.Generator, count: int, begin: int, end: int, users: int, tracks: int) -> list[Row]:
    """Events of all kinds at random times, some of them at the same time as another."""
    at = np.sort(rng.integers(begin // 60_000_000, -(-end // 60_000_000), size=count) * 60_000_000)
    kinds = rng.choice(list(KINDS), size=count, p=[0.6, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
    played = [None if rng.random() < 0.2 else int(rng.integers(0, 200_000)) for _ in range(count)]
    who, what = rng.integers(0, users, size=count).tolist(), rng.integers(0, tracks, size=count).tolist()
    return [
        (f"u{user}", track, int(time), str(kind), ms)
        for user, track, time, kind, ms in zip(who, what, at.clip(begin, end - 1), kinds, played, strict=True)
    ]


def prepared(rows: list[Row], folder: Path) -> Dataset:
    """The dataset of a log, by way of a lake."""
    folder.mkdir()
    rows = [*rows, ("last", 0, START_US + DAYS * DAY_US, "listen", None)]  # there is always a listen in the test period
    track = [row[1] for row in rows]
    pl.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "track_id": [f"t{index:02d}" for index in track],
            "played_at": pl.Series([row[2] for row in rows]).cast(pl.Datetime("us", "UTC")),
            "kind": [row[3] for row in rows],
            "ms_played": pl.Series([row[4] for row in rows], dtype=pl.Int32),
            "duration_ms": [180_000] * len(rows),
            "artist_id": [None if index % 5 == 0 else f"a{index % 4}" for index in track],
        }
    ).write_parquet(folder / "log.parquet")
    lake = Lake(folder / "lake")
    ingest(lake, SourceConfig(path=str(folder / "log.parquet")))
    return open_dataset(prepare(lake, CONFIG, 1, folder / "datasets").folder)


BASE = random_rows(np.random.default_rng(0), 330, START_US, START_US + DAYS * DAY_US, USERS, TRACKS)
LISTEN_TIMES = sorted({row[2] for row in BASE if row[3] == "listen" and row[2] >= TRAIN_UNTIL})


@dataclass(frozen=True)
class Seen:
    """All that may not move, by user: what is known of each listen before t, and what is predicted up to t."""

    listens: dict[str, list[tuple[object, ...]]]
    predictions: dict[str, NDArray[np.float32]]
    candidates: dict[tuple[str, int, bool], dict[str, float]]
    """(user, number of the listen) → the score of each track that could be recommended, by counts."""
    snapshots: dict[tuple[str, int], bytes]


def seen(dataset: Dataset, models: list[FSVAENetwork], t: int) -> Seen:
    listens, ids = dataset.listens, dataset.tracks["track_id"].to_list()
    features = listen_features(listens.played_at, listens.previous_at, listens.played_fraction)
    slow = all_slow(dataset)
    found = []
    for model in models:
        parts = list(NetworkPredictor(model).predict(dataset, 0, np.iinfo(np.int64).max))
        order = np.argsort(np.concatenate([part.targets for part in parts]))
        ranking = [part.queries if part.scores is None else _of_trained(part.scores, dataset) for part in parts]
        found += [np.concatenate([part.vectors for part in parts])[order], np.concatenate(ranking)[order]]
    point = np.hstack(found)  # every listen is a target
    before: dict[str, list[tuple[object, ...]]] = {}
    predictions: dict[str, NDArray[np.float32]] = {}
    for user, user_id in enumerate(dataset.user_ids):
        span = range(listens.offsets[user], listens.offsets[user + 1])
        past = [n for n in span if listens.played_at[n] < t]
        upto = past + [n for n in span if listens.played_at[n] == t][:1]
        if upto:
            predictions[user_id] = np.stack([point[n] for n in upto])
        if past:
            before[user_id] = [
                (
                    ids[listens.track[n]],
                    int(listens.track[n]) if listens.track[n] < dataset.n_catalogue else "outside",
                    int(listens.played_at[n]),
                    features[n].tobytes(),
                    slow[dataset.slow_row[n]].tobytes(),
                )
                for n in past
            ]
    candidates = candidate_scores(dataset, t)
    owner = [dataset.user_ids[user] for user in dataset.snapshots.user]
    days = dataset.snapshots.day.tolist()
    upto_t = {(u, d): row.tobytes() for u, d, row in zip(owner, days, slow, strict=True) if d * DAY_US <= t}
    return Seen(before, predictions, candidates, upto_t)


def candidate_scores(dataset: Dataset, t: int) -> dict[tuple[str, int, bool], dict[str, float]]:
    """By user, place of the listen, and whether the validation period was learned: then of the test period alone."""
    listens, ids, found = dataset.listens, dataset.tracks["track_id"].to_list(), {}
    candidates = Candidates(dataset)
    for refit, begin in ((False, TRAIN_UNTIL), (True, VALIDATION_UNTIL)):
        if t < begin:
            continue
        for part in MarkovBlended().fit(dataset, refit=refit).predict(dataset, begin, t + 1):
            scores = candidates.scores(part, listens.played_at[part.targets])
            for target, row in zip(part.targets.tolist(), scores, strict=True):
                if listens.played_at[target] < t or listens.previous_at[target] < t:
                    key = dataset.user_ids[listens.user[target]], int(listens.n_before[target]), refit
                    found[key] = {ids[track]: float(row[track]) for track in np.flatnonzero(row > -np.inf)}
    return found


def _of_trained(scores: NDArray[np.float32], dataset: Dataset) -> NDArray[np.float32]:
    """The scores of the tracks heard in the training period, which all worlds have in common, by their ids."""
    trained = dataset.tracks.filter(pl.col("train_count") > 0).sort("track_id")["track_index"].to_numpy()
    return scores[:, trained[trained < scores.shape[1]]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(BASE, tmp_path_factory.mktemp("base") / "log")


MODELS: list[dict[str, object]] = [
    {},
    {
        **dict.fromkeys(("slow_memory", "fast_memory", "shared_memory"), True),
        "track_table": "finetuned",
        "likelihood": "cosine",
    },
    {"fast": "shuffled", "prior": "slow", "likelihood": "track_softmax", "softmax_weight": 0.0},
]


@pytest.fixture(scope="module")
def models(base: Dataset) -> list[FSVAENetwork]:
    return [random_model(base, small_config(**changes)) for changes in MODELS]


def test_the_base_has_something_to_leak(base: Dataset) -> None:
    counts = base.manifest["counts"]
    assert counts["catalogue"] >= 8 and counts["train_listens"] > 100 and counts["test_listens"] > 30
    assert len(LISTEN_TIMES) > 60
    assert base.period("train")[1] == TRAIN_UNTIL and base.period("test")[0] == VALIDATION_UNTIL


@settings(  # an example takes a tenth of a second, so a failing one is shown as it was found, not shrunk
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(
    t=st.sampled_from(LISTEN_TIMES),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 150),
    keep=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_what_happens_from_t_on_moves_nothing_before_it(
    base: Dataset,
    models: list[FSVAENetwork],
    tmp_path_factory: pytest.TempPathFactory,
    t: int,
    seed: int,
    count: int,
    keep: float,
) -> None:
    """Delete, change and insert events of any kind, user and track from t on; prepare the log again; compare."""
    rng = np.random.default_rng(seed)
    past = [row for row in BASE if row[2] < t]
    kept = [row for row in BASE if row[2] > t and rng.random() < keep]
    # Who listens at t listens at t in both worlds, but to something else: the prediction for it may not move either.
    at_t = [(row[0], (row[1] + 1) % TRACKS, t, "listen", 1) for row in BASE if row[2] == t and row[3] == "listen"]
    new = random_rows(rng, count, t + 1, START_US + DAYS * DAY_US, USERS + 3, TRACKS + 6)
    rows = sorted([*past, *at_t, *kept, *new], key=lambda row: row[2])
    changed = prepared(rows, tmp_path_factory.mktemp("changed") / "log")

    catalogue = base.tracks.filter("in_catalogue")
    assert changed.tracks.filter("in_catalogue").equals(catalogue)
    counted = pl.col("train_count") > 0
    assert changed.tracks.filter(counted).equals(base.tracks.filter(counted))
    assert changed.n_catalogue == base.n_catalogue  # behind it lie vectors that later tracks borrow from it
    assert changed.vectors[: base.n_catalogue].tobytes() == base.vectors.tobytes()
    ours, theirs = (
        FSVAENetwork.for_dataset(base, models[0].config).slow,
        FSVAENetwork.for_dataset(changed, models[0].config).slow,
    )
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(ours.std, theirs.std)

    one, other = seen(base, models, t), seen(changed, models, t)
    assert other.listens == one.listens
    assert one.candidates.keys() == other.candidates.keys() and len(one.candidates) > 0
    for key, scores in one.candidates.items():
        assert other.candidates[key] == pytest.approx(scores, abs=1e-6)
    both = one.snapshots.keys() & other.snapshots.keys()
    assert {key: one.snapshots[key] for key in both} == {key: other.snapshots[key] for key in both}
    assert {key for key in one.snapshots if key[1] < t // DAY_US} <= both
    assert one.predictions.keys() == other.predictions.keys()
    for user_id, points in one.predictions.items():
        np.testing.assert_allclose(other.predictions[user_id], points, rtol=1e-5, atol=1e-5)  # float32, other batches


FIRST = 20_000
VECTORS = unit_vectors(6, 3)
EVENT = st.tuples(
    st.integers(0, 2), st.integers(0, 40 * 24), st.integers(0, 7), st.integers(-1, 2), st.integers(0, len(KINDS) - 1)
)
"""user, hour since the first day, track (6 and 7 have no vector), artist, kind."""


def arrays(rows: list[tuple[int, int, int, int, int]]) -> Events:
    ordered = sorted(rows, key=lambda row: row[:2])
    user, hour, track, artist, kind = np.array(ordered, dtype=np.int64).reshape(-1, 5).T
    return Events(user, track, artist, kind.astype(np.int8), FIRST * DAY_US + hour * (DAY_US // 24))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    past=st.lists(EVENT, max_size=40),
    one=st.lists(EVENT, max_size=20),
    other=st.lists(EVENT, max_size=20),
    t=st.integers(0, 40 * 24),
)
def test_no_snapshot_or_feature_before_t_reads_an_event_from_t_on(
    past: list[tuple[int, int, int, int, int]],
    one: list[tuple[int, int, int, int, int]],
    other: list[tuple[int, int, int, int, int]],
    t: int,
) -> None:
    t_us = FIRST * DAY_US + t * (DAY_US // 24)
    days = np.arange(FIRST - 1, FIRST + 45)
    user, day = np.repeat(np.arange(3), len(days)), np.tile(days, 3)
    until_t = day * DAY_US <= t_us
    worlds = []
    for future in ([], one, other):
        rows = [row for row in past if row[1] < t] + [row for row in future if row[1] >= t]
        events = arrays(rows)
        is_listen = events.kind == KINDS.index("listen")
        listener, track, at = events.user[is_listen], events.track[is_listen], events.played_at[is_listen]
        before = at < t_us
        previous = previous_times(np.searchsorted(listener, np.arange(4)).astype(np.int64), at)
        heard = np.full(len(before), 0.5, dtype=np.float32)
        worlds.append(
            (
                habits(events, user, day)[until_t].tobytes(),
                DaySums.of(listener, track.astype(np.int32), at, VECTORS).taste(user, day)[until_t].tobytes(),
                listen_features(at, previous, heard)[before].tobytes(),
                request_features(at, previous)[before].tobytes(),
            )
        )
    assert worlds[0] == worlds[1] == worlds[2]
