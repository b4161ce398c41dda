"""The counts of the memory, against small numbers by hand and against the plainest count there is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_dataset import FIRST_DAY, dataset_of, random_histories, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.data.history import session_begins, tracks_before
from fsvae.features.clock import DAY_US, SECOND_US
from fsvae.memory.contexts import AGES, EXPERTS, N_OWN, OWN, OWN_TABLE, SHARED
from fsvae.memory.look_back import Histories, Workspace, look_back
from fsvae.memory.own import own_supports
from fsvae.memory.shared import SharedMemory, SharedTables, read_tables, write_tables
from fsvae.memory.supports import BLOCKS, RECORD_HALF_LIVES, remember

A, B, C = 0, 1, 2
START = FIRST_DAY * DAY_US
NAMES = [expert.name for expert in EXPERTS]
UNKNOWN = np.full(9, -1, dtype=np.int32)
"""Tracks whose artists are not known."""
CONTEXTS = [own.name for own in OWN]


def minutes(*tracks: int) -> list[tuple[int, int]]:
    """Listens a minute apart."""
    return [(track, START + n * 60 * SECOND_US) for n, track in enumerate(tracks)]


def of_one_user(*tracks: int) -> Dataset:
    return dataset_of({"u": minutes(*tracks)}, unit_vectors(3, 4), train_until=0, validation_until=1)


def random_dataset(train_until: int = 0) -> Dataset:
    histories = random_histories([1, 2, 30, 90, 40], 9, seed=2)
    return dataset_of(histories, unit_vectors(6, 4), train_until=train_until, validation_until=1 << 60, outside=3)


def middle(data: Dataset) -> int:
    return int(np.median(data.listens.played_at))


def supports_of(tables: SharedTables, data: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
    return tables.supports(data.listens, rows, tables.places(data.listens, rows))


def test_own_counts_by_hand() -> None:
    """A B A C A B: before the last B, A came three times, followed by B and by C once each."""
    data = of_one_user(A, B, A, C, A, B)
    found = own_supports(data.listens, UNKNOWN[:3])
    raw, faded = NAMES.index("after 1"), NAMES.index("after 1, 0.5 occurrences")
    assert (found.total_NE[5, raw], found.count_NE[5, raw]) == (2, 1)
    # C is the latest follower of A and weighs 1; B is one occurrence older: 2^(-1 / 0.5) = 1/4.
    assert (found.total_NE[5, faded], found.count_NE[5, faded]) == (1.25, 0.25)
    heard = NAMES.index("heard, 10 listens")
    weights = 2.0 ** (-np.arange(5, 0, -1) / 10)
    assert found.total_NE[5, heard] == pytest.approx(weights.sum())
    assert found.count_NE[5, heard] == pytest.approx(weights[1])
    x = CONTEXTS.index("heard")
    assert found.distinct_NX[5, x] == 3 and found.top_NX[5, x] == pytest.approx(3 / 5)
    assert found.age_N.tolist() == [-1, -1, 1, -1, 1, 2]  # B: four listens ago
    assert found.ages_NB[5, :3].tolist() == [1, 1, 1]  # A one ago, C two ago, B four ago


def test_artists_by_hand() -> None:
    """A and B are of one artist, C of another. A C A B C B, then: of the last artist (B's) A and B came twice each."""
    data = of_one_user(A, C, A, B, C, B, A)
    found = own_supports(data.listens, np.array([5, 5, 8], dtype=np.int32))
    same, after = NAMES.index("same artist"), NAMES.index("after artist, 5 occurrences")
    assert (found.total_NE[6, same], found.count_NE[6, same]) == (4, 2)
    x = CONTEXTS.index("same artist")
    assert found.distinct_NX[6, x] == 2 and found.top_NX[6, x] == 0.5
    # after a track of that artist came C, B and C: the latest weighs 1, the one before 2^(-1/5), ...
    weights = 2.0 ** (-np.arange(3) / 5)
    assert found.total_NE[6, after] == pytest.approx(weights.sum()) and found.count_NE[6, after] == 0

    memory = SharedMemory(data.listens, np.array([5, 5, 8], dtype=np.int32))
    memory.add(np.arange(6), START + DAY_US)
    total, count, *_ = supports_of(memory.tables(), data, np.array([6]))
    names = [shared.name for shared in SHARED]
    assert (total[0, names.index("all: same artist")], count[0, names.index("all: same artist")]) == (4, 2)
    assert (total[0, names.index("all: after artist")], count[0, names.index("all: after artist")]) == (3, 0)


def test_a_session_ends_with_a_long_pause() -> None:
    later = [(track, at + DAY_US) for track, at in minutes(B, A, B)]
    data = dataset_of({"u": [*minutes(A, A, B), *later]}, unit_vectors(3, 4), train_until=0, validation_until=1)
    found = own_supports(data.listens, UNKNOWN[:3])
    session = NAMES.index("session")
    assert found.total_NE[:, session].tolist() == [0, 1, 2, 0, 1, 2]
    assert found.count_NE[:, session].tolist() == [0, 1, 0, 0, 0, 1]


def test_what_followed_a_track_after_a_short_and_after_a_long_pause() -> None:
    """After A, B came 20 seconds later and C an hour later; now 25 seconds, 5 minutes or 50 minutes have passed."""
    for seconds, expected in ((25, (1, 1)), (300, (0, 0)), (3000, (1, 0))):
        at, history = 0, []
        for track, pause in ((A, 0), (B, 20), (A, 3), (C, 3600), (A, 200), (B, seconds)):
            at += pause
            history.append((track, START + at * SECOND_US))
        data = dataset_of({"u": history}, unit_vectors(3, 4), train_until=0, validation_until=1)
        found = own_supports(data.listens, UNKNOWN[:3])
        x = NAMES.index("after 1 and pause, 20 occurrences")
        assert (found.total_NE[5, x], found.count_NE[5, x]) == expected
        memory = SharedMemory(data.listens, UNKNOWN[:3])
        memory.add(np.arange(5), START + DAY_US)
        total, count, *_ = supports_of(memory.tables(), data, np.array([5]))
        x = [shared.name for shared in SHARED].index("all: after 1 and pause")
        assert (total[0, x], count[0, x]) == expected


def test_the_pass_and_the_look_back_count_as_the_plainest_code_does() -> None:
    data = random_dataset()
    n_tracks, listens = 7, data.listens  # the last track is not counted
    artist_T = (np.arange(n_tracks, dtype=np.int32) % 4) - 1  # of every fourth track it is not known
    found = own_supports(listens, artist_T)
    work = Workspace.of(n_tracks, n_tracks)
    histories, session = Histories.of(listens, artist_T), session_begins(listens)
    for i in range(len(listens)):
        first = int(listens.offsets[listens.user[i]])
        m = look_back(histories, i, OWN_TABLE, work)
        counts = {int(track): work.count_ME[s].copy() for s, track in enumerate(work.track_M[:m])}
        for e, (expert, kind) in enumerate(zip(EXPERTS[:N_OWN], OWN_TABLE.clock, strict=True)):
            plain = plain_counts(data, i, first, int(session[i]), expert.context, int(kind), e, artist_T)
            assert found.total_NE[i, e] == pytest.approx(sum(plain.values()), rel=1e-4, abs=1e-5)
            assert found.count_NE[i, e] == pytest.approx(plain.get(int(listens.track[i]), 0.0), rel=1e-4, abs=1e-5)
            assert {t: c[e] for t, c in counts.items() if c[e] > 1e-8} == pytest.approx(
                {t: c for t, c in plain.items() if c > 1e-8}, rel=1e-4
            )
        heard = [int(t) for t in listens.track[first:i]]
        ages = {t: min(int(np.log2(len(heard) - n)), AGES - 1) for n, t in enumerate(heard) if t < n_tracks}
        assert found.age_N[i] == ages.get(int(listens.track[i]), -1)
        assert found.ages_NB[i].tolist() == np.bincount(list(ages.values()), minlength=AGES).tolist()
        assert (work.slot_T == -1).all()


def plain_bucket(data: Dataset, i: int) -> int:
    """Number of times that 15 seconds must be doubled to be longer than the pause before listen i; -1 without one."""
    listens = data.listens
    if i == listens.offsets[listens.user[i]]:
        return -1
    pause = int(listens.played_at[i] - listens.played_at[i - 1])
    return next(n for n in range(13) if n == 12 or pause < 15 * SECOND_US * 2**n)


def plain_counts(
    data: Dataset, i: int, first: int, session: int, context: int, kind: int, expert: int, artist_T: NDArray[np.int32]
) -> dict[int, float]:
    """Faded counts of the followers of a context before listen i, by a loop over all earlier listens."""
    listens, own, n_tracks = data.listens, OWN[context], len(artist_T)
    artist = [int(artist_T[t]) if t < n_tracks else -1 for t in listens.track]
    what = artist if own.by_artist else [int(t) for t in listens.track]
    pause = [plain_bucket(data, i) if own.by_pause else 0 for i in range(len(listens))]
    before: dict[int, float] = {}
    occurrences = 0
    if any(i - lag < first or what[i - lag] < 0 for lag in own.lags):
        return before
    if own.same_artist and (i == first or artist[i - 1] < 0):
        return before
    for j in range(i - 1, first - 1, -1):
        track = int(listens.track[j])
        same = all(j - lag >= first and what[j - lag] == what[i - lag] for lag in own.lags)
        same = same and not (own.same_artist and artist[j] != artist[i - 1])
        same = same and not (own.by_pause and pause[j] != pause[i])
        if track >= n_tracks or not same or (own.session and j < session):
            continue
        age = [0.0, occurrences, i - j, (listens.played_at[i] - listens.played_at[j]) / DAY_US][kind]
        before[track] = before.get(track, 0.0) + float(2.0 ** (-age / OWN_TABLE.half_life[expert])) ** (kind > 0)
        occurrences += 1
    return before


def test_shared_counts_by_hand() -> None:
    """Two users: A B A C, and B C. After B, everybody played A once and C once; before the cut only."""
    data = dataset_of(
        {"u": minutes(A, B, A, C), "v": minutes(B, C)}, unit_vectors(3, 4), train_until=0, validation_until=1
    )
    memory = SharedMemory(data.listens, UNKNOWN[:3])
    memory.add(np.arange(6), START + 14 * DAY_US)
    tables = memory.tables()
    total, count, distinct, top = supports_of(tables, data, np.array([2, 5]))  # A after B, C after B
    x = [shared.name for shared in SHARED].index("all: after 1")
    assert total[:, x].tolist() == [2, 2] and count[:, x].tolist() == [1, 1]
    assert distinct[:, x].tolist() == [2, 2] and top[:, x].tolist() == [0.5, 0.5]
    assert total[0, -3] == 6 and count[0, -3] == 2
    # near 1, of the track before (B): u had A before it and A, C behind it; v had C behind it
    near = [shared.name for shared in SHARED].index("all: near 1")
    assert total[0, near] == 4 and count[:, near].tolist() == [2, 2]
    # half-life of 14 days: nearly half of each listen is left at the end of the 14th day
    assert total[0, -2] == pytest.approx(3.0, rel=1e-3)


def test_shared_counts_do_not_depend_on_the_parts_they_are_added_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = random_dataset()
    order = np.argsort(data.listens.played_at, kind="stable")
    whole, parts = SharedMemory(data.listens, UNKNOWN), SharedMemory(data.listens, UNKNOWN)
    end = int(data.listens.played_at.max()) + 1
    whole.add(order, end)
    for part in np.array_split(order, 5):
        parts.add(part, int(data.listens.played_at[part].max()) + 1)
    parts.add(order[:0], end)
    path = tmp_path_factory.mktemp("tables") / "memory.safetensors"
    write_tables(path, parts.tables())
    rows = np.arange(len(data.listens))
    expected = supports_of(whole.tables(), data, rows)
    for ours, theirs in zip(supports_of(read_tables(path), data, rows), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_the_counts_of_a_candidate_are_those_of_a_listen_to_it() -> None:
    data = random_dataset()
    memory = SharedMemory(data.listens, (np.arange(8, dtype=np.int32) % 3) - 1)
    end = middle(data)
    memory.add(data.listens.between(0, end), end)
    rows = np.arange(len(data.listens))
    candidates = np.tile(np.arange(8), (len(rows), 1))
    tables = memory.tables()
    places, votes = tables.places(data.listens, rows), tables.sessions.votes(data.listens, rows)
    found = tables.candidates(places, votes, candidates)
    own = np.minimum(data.listens.track, 7)
    known = data.listens.track < 8
    expected = supports_of(tables, data, rows)[1]
    np.testing.assert_allclose(found[rows, own][known], expected[known], rtol=1e-5)
    assert (found[known].max(axis=(0, 1)) > 0).all()
    order = np.argsort(np.random.default_rng(1).random(candidates.shape), axis=1)
    mixed = tables.candidates(places, votes, order)
    np.testing.assert_array_equal(mixed, np.take_along_axis(found, order[:, :, None], axis=1))


def block_begins(data: Dataset, until: int) -> NDArray[np.int64]:
    """Time as of which everybody's counts are read at each listen, by definition."""
    at = data.listens.played_at
    trained = np.sort(at[at < until])
    cuts = sorted({int(trained[len(trained) * block // BLOCKS]) for block in range(1, BLOCKS)} | {until})
    return np.array([max([cut for cut in cuts if cut <= time], default=-1) for time in at])


def test_shared_counts_are_those_at_the_begin_of_a_block_and_then_stand_still() -> None:
    until = middle(random_dataset())
    data = random_dataset(until)
    listens, n_tracks = data.listens, len(data.tracks)
    supports = remember(data).supports
    as_of = block_begins(data, until)
    before = tracks_before(listens, 1)
    e = NAMES.index("all: after 1")
    assert len(np.unique(as_of)) == BLOCKS + 1
    for i in range(len(listens)):
        earlier = (listens.played_at < as_of[i]) & (before == before[i]) & (before[i] >= 0) & (listens.track < n_tracks)
        assert float(supports.total_NE[i, e]) == earlier.sum()
        assert float(supports.count_NE[i, e]) == (earlier & (listens.track == listens.track[i])).sum()


def test_a_track_record_is_the_faded_mean_of_the_root_of_what_the_expert_gave() -> None:
    """A B A C A B: `after 1` gave B after A nothing (no support), A after B nothing, C after A 0, then 1/2 to B."""
    supports = remember(of_one_user(A, B, A, C, A, B, A)).supports
    raw = NAMES.index("after 1")
    short = 2.0 ** (-1 / RECORD_HALF_LIVES[0])
    # supported: C after A (p 0), B after A (p 1/2); A after C is new. Weight: 1 + fading, and one more of 0.
    assert float(supports.record_NR[6, raw]) == pytest.approx(np.sqrt(0.5) / (1 + short + 1))


def test_what_comes_later_changes_nothing_that_was_remembered() -> None:
    until = middle(random_dataset())
    data = random_dataset(until)
    cut = int(np.quantile(data.listens.played_at, 0.8))
    later = data.listens.played_at >= cut
    rng = np.random.default_rng(0)
    other = np.where(later, rng.integers(0, 9, len(later)), data.listens.track).astype(np.int32)
    changed = dataclasses.replace(data, listens=data.listens.with_tracks(other))
    ours, theirs = (remember(d, refreshed_at=[until + 1, cut]).supports for d in (data, changed))
    first = np.flatnonzero(~later)
    for name, mine, its in zip(ours._fields, ours, theirs, strict=True):
        assert np.array_equal(mine[first], its[first]), name
    assert not np.array_equal(ours.total_NE, theirs.total_NE)
