"""The votes of earlier sessions, against small numbers by hand and against the plainest loop there is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_dataset import FIRST_DAY, dataset_of, random_histories, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.data.history import session_begins
from fsvae.features.clock import DAY_US, SECOND_US
from fsvae.memory.neighbours import LATEST, MOST, POWERS, WINDOW, Sessions

A, B, C, D, E = range(5)
START = FIRST_DAY * DAY_US


def session(day: int, *tracks: int) -> list[tuple[int, int]]:
    """Listens a minute apart on some day."""
    return [(track, START + day * DAY_US + n * 60 * SECOND_US) for n, track in enumerate(tracks)]


def of(histories: dict[str, list[tuple[int, int]]]) -> Dataset:
    return dataset_of(histories, unit_vectors(5, 4), train_until=0, validation_until=1)


def test_votes_by_hand() -> None:
    """After A B: one session holds both, one only A; what comes after counts 1, e^-1/2, ..., before .6 of it."""
    data = of({"u": session(0, A, B, C, D), "v": session(1, E, A), "w": session(2, A, B, C)})
    row = np.array([len(data.listens) - 1])  # w's C
    sessions = Sessions.of(data.listens, 5, START + 2 * DAY_US)
    total, count, distinct, top = sessions.supports(data.listens, row)
    near, older = 1.0, np.exp(-1 / 1.5)  # weights of a shared B, the last track, and of A
    # u shares both, about B: C after it 1 step, D 2 steps, A before it; v shares A, with E before it
    c, d, a, e = np.exp(-0.5), np.exp(-1.0), 0.6 * np.exp(-0.5), 0.6 * np.exp(-0.5)
    for x, power in enumerate(POWERS):
        u, v = (near + older) ** power, older**power
        assert total[0, x] == pytest.approx(u * (a + c + d) + v * e, rel=1e-5)
        assert count[0, x] == pytest.approx(u * c, rel=1e-5)
    assert distinct[0].tolist() == [2, 2]
    assert top[0, 0] == pytest.approx((near + older) / np.exp(-np.arange(LATEST) / 1.5).sum())


def test_what_is_not_before_the_time_has_no_vote() -> None:
    data = of({"u": session(0, A, B), "v": session(1, A, C), "w": session(2, A, B)})
    row = np.array([len(data.listens) - 1])
    for until, total in ((START, 0), (START + 60 * SECOND_US, 0), (START + DAY_US, 1), (START + DAY_US + 1, 1)):
        found = Sessions.of(data.listens, 5, until).supports(data.listens, row)
        assert found[0][0, 0] == pytest.approx(total * np.exp(-0.5))  # B after A; v's A is heard, its C not yet
    assert Sessions.of(data.listens, 5, START + 2 * DAY_US).supports(data.listens, row)[0][0, 0] == pytest.approx(
        2 * np.exp(-0.5)
    )


def plain_votes(data: Dataset, row: int, n_tracks: int, until: int) -> list[dict[int, float]]:
    """Weight of the votes for each track before a listen, for each power, by loops over all sessions."""
    listens, begins = data.listens, session_begins(data.listens)
    first = int(listens.offsets[listens.user[row]])
    latest = [int(t) for t in listens.track[max(first, row - LATEST) : row]][::-1]
    similarity: dict[int, float] = {}
    shared: dict[int, int] = {}
    for age, track in enumerate(latest):
        if track in latest[:age] or track >= n_tracks:
            continue
        known = [(int(listens.played_at[i]), i) for i in np.flatnonzero(listens.track == track)]
        last = {int(begins[i]): i for at, i in sorted(pair for pair in known if pair[0] < until)[-MOST:]}
        for s, i in last.items():
            similarity[s] = similarity.get(s, 0.0) + float(np.exp(-age / 1.5))
            shared.setdefault(s, i)
    found: list[dict[int, float]] = [{} for _ in POWERS]
    for s, weight in similarity.items():
        counted = np.flatnonzero((begins == s) & (listens.track < n_tracks))
        of_shared = counted.tolist().index(shared[s])
        for place, i in enumerate(counted):
            steps = place - of_shared
            if listens.played_at[i] >= until:
                continue
            if steps and abs(steps) <= WINDOW:
                vote = float(np.exp(-abs(steps) / 2.0)) * (1.0 if steps > 0 else 0.6)
                for votes, power in zip(found, POWERS, strict=True):
                    votes[int(listens.track[i])] = votes.get(int(listens.track[i]), 0.0) + vote * weight**power
    return found


def test_votes_are_those_of_the_plainest_code_also_from_a_file() -> None:
    histories = random_histories([1, 2, 60, 300, 80], 7, seed=3)
    data = dataset_of(histories, unit_vectors(4, 4), train_until=0, validation_until=1, outside=3)
    until = int(np.median(data.listens.played_at))
    sessions = Sessions.of(data.listens, 6, until)  # the last track is not counted
    kept = sessions.pruned()
    assert len(kept.track_L) < len(data.listens) and (kept.played_at_L < until).all()
    rows = np.arange(len(data.listens))
    total, count, distinct, top = sessions.supports(data.listens, rows)
    for ours, theirs in zip(kept.supports(data.listens, rows), sessions.supports(data.listens, rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    out = np.zeros((len(rows), 6), dtype=np.float32)
    votes = kept.votes(data.listens, rows)
    for ours, theirs in zip(votes.supports(data.listens.track), (total, count, distinct, top), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    votes.add_rows(np.tile(np.array([[1.0, 0.0]], np.float32), (len(rows), 1)), out)
    for row in rows[::7]:
        plain = plain_votes(data, int(row), 6, until)
        for x, votes in enumerate(plain):
            assert total[row, x] == pytest.approx(sum(votes.values()), rel=1e-4)
            assert count[row, x] == pytest.approx(votes.get(int(data.listens.track[row]), 0.0), rel=1e-4)
        assert out[row].tolist() == pytest.approx([plain[0].get(t, 0.0) for t in range(6)], rel=1e-4)
    assert distinct.max() > 1


def test_searches_side_by_side_do_not_disturb_each_other() -> None:
    """Requests of the endpoint run on threads of their own, without the interpreter's lock, over the same sessions."""
    histories = random_histories([60, 300, 80, 200], 7, seed=3)
    data = dataset_of(histories, unit_vectors(7, 4), train_until=0, validation_until=1)
    sessions, rows = Sessions.of(data.listens, 7, 1 << 62), np.arange(len(data.listens))
    alone = sessions.supports(data.listens, rows)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: sessions.supports(data.listens, rows), range(64)):
            for ours, theirs in zip(found, alone, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_what_comes_later_in_a_session_changes_no_vote() -> None:
    """A B, then A again beyond the time: the vote is B after the first A."""
    data = of({"u": session(0, A, B, A), "w": session(2, A, B)})
    until = START + 120 * SECOND_US  # that of u's second A
    total, count, *_ = Sessions.of(data.listens, 5, until).supports(data.listens, np.array([4]))
    assert total[0, 0] == pytest.approx(np.exp(-0.5)) and count[0, 0] == pytest.approx(np.exp(-0.5))


def test_only_the_latest_sessions_with_a_track_are_compared() -> None:
    many = {f"u{n:03}": session(n, A, B if n == 0 else C) for n in range(MOST + 1)}
    data = of(many | {"w": session(MOST + 2, A, C)})
    sessions = Sessions.of(data.listens, 5, START + (MOST + 2) * DAY_US)
    row = np.array([len(data.listens) - 1])
    out = np.zeros((1, 5), dtype=np.float32)
    sessions.votes(data.listens, row).add_rows(np.array([[1.0, 0.0]], np.float32), out)
    assert out[0, B] == 0 and out[0, C] == pytest.approx(MOST * np.exp(-0.5), rel=1e-5)
    assert len(sessions.pruned().place_P) == MOST + 1 + MOST  # with A, with B, with C
