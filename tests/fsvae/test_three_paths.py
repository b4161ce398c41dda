"""Training, one-pass evaluation and listen-by-listen serving are one model: the same history, the same prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_dataset import (
    FIRST_DAY,
    HOUR_US,
    all_slow,
    dataset_of,
    known_user,
    random_histories,
    random_model,
    small_config,
    unit_vectors,
)

from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.chunks import Batcher, training_chunks
from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US
from fsvae.live_users import LiveEvent, LiveUsers
from fsvae.memory.rows import MemoryRows
from fsvae.memory.shared import SharedTables
from fsvae.memory.supports import Remembered, Supports, remember
from fsvae.models.fsvae import FSVAENetwork, Prediction
from fsvae.models.online_state import NewListens, UserState, new_user, predict, update
from fsvae.models.predict import NetworkPredictor
from fsvae.online_question import RecentListen
from fsvae.online_recommender import OnlineRecommender
from fsvae.requests import requests_of_users

FOREVER = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
CATALOGUE, OUTSIDE, DIM = 12, 3, 6
TOLERANCE = 1e-4
MEMORY: dict[str, object] = {"slow_memory": True, "fast_memory": True, "shared_memory": True}
MODELS: dict[str, dict[str, object]] = {
    "two outputs": {},
    "memory": {**MEMORY, "ranked": 0},
    "table of its own": {"track_table": "finetuned"},
    "memory, ranked again": {**MEMORY, "ranked": 5},
    "all": {**MEMORY, "track_table": "finetuned", "prior": "slow", "likelihood": "cosine"},
    "no listens": {"fast": "off"},
    "memory alone": {**MEMORY, "fast": "off", "slow": False, "artist_memory": False, "ranked": 5},
}


def lengths(history: int) -> list[int]:
    """Around every boundary of chunks and anchors, and far beyond 4 L."""
    around = [1, history - 1, history, history + 1, 2 * history - 1, 2 * history, 2 * history + 1]
    return [*around, 3 * history, 5 * history, 6 * history + 3]


def dataset(history: int) -> Dataset:
    """Half of the listens are in the training period, so that everybody's memory changes at the begin of its blocks."""
    histories = random_histories(lengths(history), CATALOGUE + OUTSIDE, seed=history)
    cut = int(np.median([listen[1] for heard in histories.values() for listen in heard]))
    return dataset_of(histories, unit_vectors(CATALOGUE, DIM), cut, cut + 1, outside=OUTSIDE)


def rows(
    model: FSVAENetwork, prediction: Prediction, supports: Supports | None = None, memory: MemoryRows | None = None
) -> NDArray[np.float32]:
    """The expected vectors and the scores side by side, [N, D + T]."""
    scores, vectors = model.scores(prediction, supports, memory)
    return torch.cat([vectors, scores], dim=1).numpy()


def tables_at(remembered: Remembered, at: int) -> SharedTables:
    """Everybody's counts that hold at a time."""
    return [tables for time, tables in remembered.tables if time <= at][-1]


@torch.inference_mode()
def training_path(model: FSVAENetwork, data: Dataset, history: int) -> dict[int, NDArray[np.float32]]:
    """Flat position → what the training-time forward predicts where its context is that of the definition.

    With a memory, the score is that of the loss for the listen's own track, the only one that training looks at.
    """
    chunks = training_chunks(data.listens, FOREVER[1], history)
    memory = remember(data).supports if model.has_memory else None
    batch = Batcher(data, chunks, catalogue_targets_only=False, memory=memory)[np.arange(len(chunks))]
    prediction = model(batch)
    if memory is None:
        found = rows(model, prediction)
    else:
        target = batch.track_BT[batch.target_BT]
        negative_log = list(model._negative_logs(prediction, target, batch.memory).values())[-1]
        found = np.exp(-negative_log.numpy())[:, None]
    chunk, position = (index.numpy() for index in batch.target_BT.nonzero(as_tuple=True))
    flat = batch.listen_BT[batch.target_BT].numpy()
    first_of_user = np.isin(chunks.start, data.listens.offsets[:-1])
    counts = first_of_user[chunk] | (position >= history)
    assert len(np.unique(flat[counts])) == counts.sum() == len(data.listens)
    return dict(zip(flat[counts].tolist(), found[counts], strict=True))


def one_pass_path(
    model: FSVAENetwork, data: Dataset, refreshed_at: Sequence[int] = ()
) -> dict[int, NDArray[np.float32]]:
    found: dict[int, NDArray[np.float32]] = {}
    for part in NetworkPredictor(model, refreshed_at).predict(data, *FOREVER):
        scores = part.scores
        if scores is None:
            assert part.queries is not None
            scores = part.queries @ data.vectors.T / np.linalg.norm(part.queries, axis=1, keepdims=True)
        found |= dict(zip(part.targets.tolist(), np.concatenate([part.vectors, scores], axis=1), strict=True))
    return found


def steps(model: FSVAENetwork, data: Dataset, user: int, remembered: Remembered | None = None) -> list[UserState]:
    """The states before each listen of a user, and behind the last."""
    listens = data.listens
    states = [new_user(model)]
    for n in range(listens.offsets[user], listens.offsets[user + 1]):
        listen = int(listens.track[n]), int(listens.played_at[n]), float(listens.played_fraction[n])
        tables = None if remembered is None else tables_at(remembered, listen[1])
        states += update(model, states[-1:], [NewListens(*([one] for one in listen))], tables)
    return states


@torch.inference_mode()
def stepped(
    model: FSVAENetwork, state: UserState, slow: NDArray[np.float32], at: int, tables: SharedTables | None = None
) -> NDArray[np.float32]:
    return rows(model, *predict(model, [state], model.slow(torch.from_numpy(slow)[None]), [at], tables))[0]


@pytest.mark.parametrize("history", [4, 8])
@pytest.mark.parametrize("name", list(MODELS))
def test_training_evaluation_and_stepping_predict_the_same(name: str, history: int) -> None:
    data = dataset(history)
    model = random_model(data, small_config(history=history, **MODELS[name]))
    if model.ranker is not None:  # else its random weights would leave next to nothing of some tracks' probabilities
        for last in (model.ranker.out, model.ranker.linear):
            last.weight.data.mul_(0.03)
    training, one_pass = training_path(model, data, history), one_pass_path(model, data)
    ranker, model.ranker = model.ranker, None
    unranked = one_pass_path(model, data)  # training learns the mixture, which is ranked again afterwards
    model.ranker = ranker
    if ranker is not None:
        assert max(np.abs(one_pass[flat] - unranked[flat]).max() for flat in unranked) > 100 * TOLERANCE
    assert training.keys() == one_pass.keys() == set(range(len(data.listens)))
    found = []
    remembered = remember(data, tables_from=FOREVER[0]) if model.has_memory else None
    for user in range(data.listens.n_users):
        for n, state in enumerate(steps(model, data, user, remembered)[:-1]):
            flat = int(data.listens.offsets[user]) + n
            slow, at = all_slow(data)[data.slow_row[flat]], int(data.listens.played_at[flat])
            row = stepped(model, state, slow, at, None if remembered is None else tables_at(remembered, at))
            np.testing.assert_allclose(row, one_pass[flat], rtol=0, atol=TOLERANCE)
            learned = unranked[flat]
            if remembered is not None:  # a probability, of which training sees only the one of the listen's own track
                assert learned[DIM:].sum() == pytest.approx(1, abs=TOLERANCE)
                learned = learned[[DIM + int(data.listens.track[flat])]]
            np.testing.assert_allclose(training[flat], learned, rtol=0, atol=TOLERANCE)
            found.append(row)
    spread = np.std(found, axis=0)
    assert spread.min() > 100 * TOLERANCE  # a model whose answers never change would agree with itself for nothing


def test_the_state_is_the_lstm_run_from_the_anchor_over_at_least_l_listens() -> None:
    """The definition itself, by the plainest code there is: slice the inputs at the anchor and run the LSTM."""
    history = 4
    data = dataset(history)
    model = random_model(data, small_config(history=history))
    listens = data.listens
    user = listens.n_users - 1
    begin, end = listens.offsets[user : user + 2]
    whole = Batcher(data, training_chunks(listens, FOREVER[1], int(end)), catalogue_targets_only=False)
    batch = whole[np.array([len(whole) - 1])]
    assert batch.listen_BT.numpy().tolist() == [list(range(begin, end))]
    inputs = model.listen_inputs(batch.track_BT, batch.features_BTF)
    for n, state in enumerate(steps(model, data, user)):
        anchor = 0 if n < 2 * history else (n // history - 1) * history
        if n > 0:
            with torch.inference_mode():
                _, (h, c) = model.fast.lstm(inputs[:, anchor:n])
            torch.testing.assert_close((h, c), state.current, rtol=0, atol=TOLERANCE)
        assert state.n_listens == n


@pytest.mark.parametrize("history", [4, 8])
@pytest.mark.parametrize("name", ["two outputs", "all"])
def test_the_states_of_a_bundle_are_those_of_stepping(
    name: str, history: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = dataset(history)
    model = random_model(data, small_config(history=history, **MODELS[name]))
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, model, data, {})
    bundle = load_bundle(folder)
    remembered = remember(data, tables_from=FOREVER[0]) if model.has_memory else None
    for user, user_id in enumerate(data.user_ids):
        expected = steps(model, data, user, remembered)[-1]
        known = known_user(bundle, user_id, data.manifest["as_of_day"] * DAY_US)
        assert known is not None
        state, slow = known
        assert (state.n_listens, state.last_played_at) == (expected.n_listens, expected.last_played_at)
        for ours, theirs in zip(
            (*state.current, *state.following), (*expected.current, *expected.following), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
        assert np.array_equal(state.heard.track, expected.heard.track)
        assert np.array_equal(state.heard.played_at, expected.heard.played_at)
        np.testing.assert_allclose(state.heard.records, expected.heard.records, rtol=0, atol=TOLERANCE)
        last = np.flatnonzero(data.snapshots.user == user)[-1]
        assert data.snapshots.day[last] == data.manifest["as_of_day"]
        assert np.array_equal(slow, all_slow(data)[last])
    assert known_user(bundle, "nobody", 0) is None and bundle.last_played_at("nobody") is None


def split_at(data: Dataset, kept: int) -> Dataset:
    """The dataset of every user's first listens, in which those with no more than `kept` are whole."""
    listens = data.listens
    histories = {}
    for user, user_id in enumerate(data.user_ids):
        begin, end = listens.offsets[user], min(listens.offsets[user] + kept, listens.offsets[user + 1])
        histories[user_id] = [
            (int(listens.track[n]), int(listens.played_at[n]), float(listens.played_fraction[n]))
            for n in range(begin, end)
        ]
    cuts = data.manifest["train_until_us"], data.manifest["validation_until_us"]
    return dataset_of(histories, data.vectors, *cuts, outside=OUTSIDE)


@pytest.mark.parametrize("kept", [1, 4, 7, 8, 13])
@pytest.mark.parametrize("name", ["two outputs", "memory", "memory, ranked again", "table of its own", "all"])
def test_the_endpoint_goes_on_from_a_bundle_as_if_it_had_seen_everything(
    name: str, kept: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A bundle of the first listens plus the rest as `recent` answers as stepping over the whole history does."""
    history = 4
    data = dataset(history)
    early = split_at(data, kept)
    model = random_model(data, small_config(history=history, **MODELS[name]))
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, model, early, {})
    bundle = load_bundle(folder)
    endpoint = OnlineRecommender(bundle, approximate_from=1_000)
    ids = data.tracks["track_id"].to_list()
    remembered = remember(early, tables_from=FOREVER[0]) if model.has_memory else None
    for user, user_id in enumerate(data.user_ids):
        span = range(data.listens.offsets[user], data.listens.offsets[user + 1])
        recent = [
            RecentListen(
                ids[data.listens.track[n]], int(data.listens.played_at[n]), float(data.listens.played_fraction[n])
            )
            for n in span
        ]
        at = int(data.listens.played_at[span[-1]]) + 77_000_000
        known = known_user(bundle, user_id, at)
        assert known is not None
        state = steps(model, early, user, remembered)[-1]
        for listen in recent[kept:]:
            assert listen.played_at is not None
            track = ids.index(listen.track_id)
            new = NewListens([track], [listen.played_at], [listen.played_fraction])
            (state,) = update(model, [state], [new], bundle.shared)
        scores = stepped(model, state, known[1], at, bundle.shared)[DIM:]
        expected = dict(zip(ids, scores, strict=False))

        for told in (recent, recent[kept:]):  # what the bundle knows already may be told again
            given = endpoint.next_tracks(user_id, told, k=CATALOGUE, at=at)
            assert given.known_user and given.recent_used == max(len(recent) - kept, 0)
            assert len(given.tracks) == CATALOGUE
            assert [track.score for track in given.tracks] == sorted((t.score for t in given.tracks), reverse=True)
            for track in given.tracks:
                assert track.score == pytest.approx(expected[track.track_id], abs=TOLERANCE)


def halves() -> tuple[Dataset, Dataset]:
    """The listens of some users before a time, and all of them, on many days; one user is born after that time."""
    histories = random_histories([40, 3, 60, 25], CATALOGUE + OUTSIDE, seed=3) | {
        "late": random_histories([9], CATALOGUE, seed=4)["u0"]
    }
    until = int(np.median([played_at for heard in histories.values() for _, played_at, *_ in heard]))
    shift = until - histories["late"][0][1] + 5 * HOUR_US
    histories["late"] = [(track, played_at + shift, *rest) for track, played_at, *rest in histories["late"]]
    early = {user: [one for one in heard if one[1] < until] for user, heard in histories.items() if user != "late"}
    assert all(early.values())
    cut = max(one[1] for heard in early.values() for one in heard) + 1
    vectors = unit_vectors(CATALOGUE, DIM)
    first, whole = (dataset_of(of, vectors, cut, cut + 1, outside=OUTSIDE) for of in (early, histories))
    return first, whole


@pytest.mark.parametrize("name", ["two outputs", "memory, ranked again", "all"])
def test_posted_listens_count_at_once_and_on_every_later_day_as_in_evaluation(name: str, tmp_path: Path) -> None:
    early, whole = halves()
    model = random_model(early, small_config(**MODELS[name]))
    save_bundle(tmp_path, model, early, {})
    came: dict[str, list[LiveEvent]] = {user_id: [] for user_id in whole.user_ids}
    endpoint = OnlineRecommender(
        load_bundle(tmp_path), 1_000, lambda user_id, after: [one for one in came[user_id] if one.sequence > after]
    )
    evaluated = one_pass_path(model, whole)
    listens, ids = whole.listens, whole.tracks["track_id"].to_list()
    later = np.flatnonzero(listens.played_at >= whole.manifest["train_until_us"])
    later = later[np.argsort(listens.played_at[later], kind="stable")]
    days, asked_on = {user_id: set[int]() for user_id in whole.user_ids}, 0
    for sequence, flat in enumerate(later.tolist(), start=1):
        user_id, at = whole.user_ids[listens.user[flat]], int(listens.played_at[flat])
        given = endpoint.next_tracks(user_id, [], k=CATALOGUE, at=at)
        asked_on += bool(days[user_id]) and at // DAY_US not in days[user_id]
        days[user_id].add(at // DAY_US)
        expected = evaluated[flat][DIM:]
        for track in given.tracks:
            assert track.score == pytest.approx(expected[ids.index(track.track_id)], abs=TOLERANCE)
        came[user_id].append(LiveEvent(sequence, ids[listens.track[flat]], at, float(listens.played_fraction[flat])))
    assert asked_on > 10, "the slow snapshots must hold posted listens, too"


def test_a_listen_that_is_posted_late_counts_in_its_place(tmp_path: Path) -> None:
    early, whole = halves()
    model = random_model(early, small_config(**MODELS["all"]))
    save_bundle(tmp_path, model, early, {})
    bundle, user_id = load_bundle(tmp_path), "u2"
    user = whole.user_ids.index(user_id)
    known, ids = bundle.last_played_at(user_id), whole.tracks["track_id"].to_list()
    assert known is not None
    flats = [n for n in range(*whole.listens.offsets[user : user + 2]) if whole.listens.played_at[n] > known][:12]
    posted = [
        LiveEvent(n, ids[whole.listens.track[flat]], int(whole.listens.played_at[flat]), 1.0)
        for n, flat in enumerate(flats, start=1)
    ]
    late = [
        posted[n]._replace(sequence=place) for place, n in enumerate([0, 2, 1, 11, 5, *range(6, 11), 3, 4], start=1)
    ]
    before = LiveEvent(99, ids[0], known, 1.0)  # the bundle's state holds this time already
    answers = []
    for order in (posted, late, [*late, before]):
        seen: list[LiveEvent] = []
        endpoint = OnlineRecommender(bundle, came=lambda _, after: [one for one in seen if one.sequence > after])  # noqa: B023
        for listen in order:  # asked in between, so that states are kept and go on
            seen.append(listen)
            answer = endpoint.next_tracks(user_id, [], k=CATALOGUE, at=posted[-1].played_at + DAY_US)
        answers.append([(track.track_id, pytest.approx(track.score, abs=1e-6)) for track in answer.tracks])
    assert answers[0] == answers[1] == answers[2]


def test_a_late_listen_replays_the_latest_ones_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 listens a minute apart, the last but ten posted last: the state after 256 goes on with 44 steps."""
    early, _ = halves()
    model = random_model(early, small_config(**MODELS["two outputs"]))
    save_bundle(tmp_path, model, early, {})
    begin, ids = int(early.listens.played_at.max()) + DAY_US, early.tracks["track_id"].to_list()
    order = [*range(290), *range(291, 300), 290]
    posted = [LiveEvent(n, ids[n % 7], begin + place * 60_000_000, 1.0) for n, place in enumerate(order, start=1)]
    steps_made: list[int] = []

    def counted(
        model: FSVAENetwork, states: Sequence[UserState], new: Sequence[NewListens], tables: SharedTables | None
    ) -> list[UserState]:
        steps_made.extend(len(one.track) for one in new)
        return update(model, states, new, tables)

    monkeypatch.setattr("fsvae.live_users.update", counted)
    seen: list[LiveEvent] = []
    index = {track_id: place for place, track_id in enumerate(ids)}
    bundle = load_bundle(tmp_path)
    users, afresh = (
        LiveUsers(bundle, index, lambda _, after: [one for one in seen if one.sequence > after]) for _ in range(2)
    )
    for some in (posted[:100], posted[100:-1], posted[-1:]):
        seen += some
        steps_made.clear()
        found = users.user("u0")
    assert sum(steps_made) == 300 - 256
    expected = afresh.user("u0")
    assert found is not None and expected is not None
    assert [listen.played_at for listen in found.listens] == [begin + n * 60_000_000 for n in range(300)]
    for ours, theirs in zip(found.state.current, expected.state.current, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("days_later", [0, 1, 8, 9, 10, 28, 29, 40])
def test_a_request_on_any_day_reads_the_snapshot_that_evaluation_reads_on_it(
    days_later: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Others listen until 9 days after a user's last active day: the 10th is the first one behind the dataset."""
    rng = np.random.default_rng(5)
    hours = [(day, hour) for day in range(35) if day % 4 for hour in (7, 22)]
    past = [
        (int(rng.integers(CATALOGUE + OUTSIDE)), (FIRST_DAY + day) * DAY_US + hour * HOUR_US) for day, hour in hours
    ]
    last_day = past[-1][1] // DAY_US
    others = [(3, day * DAY_US) for day in range(FIRST_DAY, last_day + 10)]
    at = (last_day + days_later) * DAY_US + 23 * HOUR_US

    def dataset_with(history: list[tuple[int, int]]) -> Dataset:
        vectors = unit_vectors(CATALOGUE, DIM)
        return dataset_of({"others": others, "u": history}, vectors, train_until=0, validation_until=1, outside=OUTSIDE)

    early, whole = dataset_with(past), dataset_with([*past, (0, at)])
    assert early.manifest["as_of_day"] == last_day + 10
    model = random_model(early, small_config())
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, model, early, {})
    bundle = load_bundle(folder)
    known = known_user(bundle, "u", at)
    assert known is not None
    assert np.array_equal(known[1], all_slow(whole)[whole.slow_row[-1]])
    given = OnlineRecommender(bundle, approximate_from=1_000).next_tracks("u", [], k=CATALOGUE, at=at)
    evaluated = one_pass_path(model, whole)[len(whole.listens) - 1][DIM:]
    for track in given.tracks:
        assert track.score == pytest.approx(evaluated[int(track.track_id[1:])], abs=TOLERANCE)


def test_the_endpoint_answers_a_stranger_as_the_one_pass_does_without_slow_features(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    history = 4
    data = dataset(history)
    model = random_model(data, small_config(history=history))
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, model, data, {})
    endpoint = OnlineRecommender(load_bundle(folder), approximate_from=1_000)
    blank = dataclasses.replace(
        data,
        snapshots=dataclasses.replace(
            data.snapshots,
            habits=0 * data.snapshots.habits,
            sums=dataclasses.replace(data.snapshots.sums, total=0 * data.snapshots.sums.total),
        ),
    )
    one_pass = one_pass_path(model, blank)
    ids = data.tracks["track_id"].to_list()
    user = data.listens.n_users - 1
    begin, end = data.listens.offsets[user : user + 2]
    for n in range(begin, end):
        recent = [
            RecentListen(
                ids[data.listens.track[i]], int(data.listens.played_at[i]), float(data.listens.played_fraction[i])
            )
            for i in range(begin, n)
        ]
        for user_id in (None, "nobody"):
            given = endpoint.next_tracks(user_id, recent, k=CATALOGUE, at=int(data.listens.played_at[n]))
            cosine = one_pass[n][DIM:]
            assert not given.known_user and given.recent_used == n - begin
            for track in given.tracks:
                assert track.score == pytest.approx(cosine[ids.index(track.track_id)], abs=TOLERANCE)
            assert given.unknown_tracks == []  # those without a vector are known too


@pytest.mark.parametrize("name", ["two outputs", "all"])
def test_tracks_with_an_imputed_vector_are_recommended_in_evaluation_and_at_the_endpoint(
    name: str, tmp_path: Path
) -> None:
    """Everybody's memory is brought up to date at the end of the dataset, as it is in a bundle."""
    data = dataclasses.replace(dataset(4), n_catalogue=CATALOGUE - 4)  # the last four borrow their vectors
    model = random_model(data, small_config(**MODELS[name]))
    save_bundle(tmp_path, model, data, {})
    endpoint = OnlineRecommender(load_bundle(tmp_path))
    end = int(data.listens.played_at.max()) + 1
    asked = requests_of_users(data, data.user_ids, end)
    evaluated = one_pass_path(model, asked, refreshed_at=[end])
    for user_id, request in zip(data.user_ids, asked.listens.offsets[1:] - 1, strict=True):
        given = endpoint.next_tracks(user_id, [], k=100, at=end)
        assert len(given.tracks) == (CATALOGUE + OUTSIDE if model.has_memory else CATALOGUE)
        found = [evaluated[request][DIM:][int(track.track_id[1:])] for track in given.tracks]
        assert found == pytest.approx([track.score for track in given.tracks], abs=TOLERANCE)


def test_scores_of_a_large_catalogue_come_a_few_targets_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """75 scores are those of five targets, fewer than a chunk has."""
    data = dataset(4)
    model = random_model(data, small_config(**MEMORY))
    expected = one_pass_path(model, data)
    monkeypatch.setattr("fsvae.data.batches._SCORES_AT_ONCE", 5 * len(data.tracks))
    parts = [part.scores for part in NetworkPredictor(model).predict(data, *FOREVER)]
    assert len(parts) >= 10 and max(scores.size for scores in parts if scores is not None) <= 5 * len(data.tracks)
    found = one_pass_path(model, data)
    assert found.keys() == expected.keys()
    for n, row in found.items():
        np.testing.assert_allclose(row, expected[n], rtol=0, atol=1e-5)


def test_users_with_a_single_listen_need_no_longer_neighbour_in_their_batch() -> None:
    """A batch of chunks of one listen has nothing to run the LSTM over."""
    histories = random_histories([1, 1, 1], CATALOGUE, seed=3)
    data = dataset_of(histories, unit_vectors(CATALOGUE, DIM), train_until=0, validation_until=1)
    model = random_model(data, small_config())
    one_pass, training = one_pass_path(model, data), training_path(model, data, 4)
    for n in range(3):
        alone = stepped(model, new_user(model), all_slow(data)[data.slow_row[n]], int(data.listens.played_at[n]))
        np.testing.assert_allclose(one_pass[n], alone, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(training[n], alone, rtol=0, atol=TOLERANCE)
