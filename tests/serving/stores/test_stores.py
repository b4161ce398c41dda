"""What every store does: events once each and in order, durable when acknowledged; tracks, model, accuracy."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fsvae.live_tracks import TrackNotice
from fsvae.live_users import ERASED, LiveEvent
from serving.stores.redis_store import RedisStore
from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import Accuracy, Posted, Served, Store, Stored, StoreError


class Place(NamedTuple):
    """Where the data of a store is."""

    open: Callable[[], Store]
    code: str
    """Python code that opens the store as `store`."""


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "live" / "events.sqlite"
        code = f"""
from pathlib import Path
from serving.stores.sqlite_store import SqliteStore
store = SqliteStore(Path({str(path)!r}))
"""
        return Place(lambda: SqliteStore(path), code)
    url, prefix = request.getfixturevalue("redis_server").url, uuid.uuid4().hex
    code = f"""
from serving.stores.redis_store import RedisStore
store = RedisStore({url!r}, {prefix!r})
"""
    return Place(lambda: RedisStore(url, prefix), code)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    store = place.open()
    yield store
    store.close()


@pytest.fixture
def other(place: Place) -> Iterator[Store]:
    """Another store with the same data."""
    other = place.open()
    yield other
    other.close()


def listen(event_id: str, user_id: str = "ann", track_id: str = "t", played_at: int = 5) -> Posted:
    return Posted(event_id, user_id, track_id, played_at, 0.5)


def test_an_event_is_stored_once_however_often_it_is_sent(store: Store) -> None:
    first, second, again = store.add([listen("a"), listen("b"), listen("a", track_id="other")]).result()
    assert 0 < first < second and again == 0
    known, third = store.add([listen("b"), listen("c")]).result()
    assert known == 0 and third > second
    assert [(one.sequence, one.track_id) for one in store.of_user("ann", 0)] == [
        (n, "t") for n in (first, second, third)
    ]
    assert store.add([listen("a", user_id="ben")]).result() > [third]  # ids are each user's own
    assert store.add([]).result() == []


def test_a_users_events_come_in_the_order_in_which_they_were_stored(store: Store) -> None:
    like = Posted("c", "ann", "u", 3, 0.0, "like")
    first, _, second = store.add([listen("a", played_at=9), listen("b", user_id="ben"), like]).result()
    events = [LiveEvent(first, "t", 9, 0.5, "listen"), LiveEvent(second, "u", 3, 0.0, "like")]
    assert store.of_user("ann", 0) == events
    assert store.of_user("ann", first) == events[1:] and store.of_user("ann", second) == []
    assert store.of_user("nobody", 0) == []


def test_ids_may_have_any_signs_and_times_and_fractions_come_back_as_they_were(store: Store) -> None:
    ids = ["", " ", "a:b", 'q"[,\\', "ü\n𝄞\x00", "{x}", "*"]
    times = [-(2**63), -1, 0, 1, 1_700_000_000_000_001, 2**53 + 1, 2**63 - 1]
    fractions = [0.0, 1.0, 1 / 3, 1e-300, 1e300, 0.1, -0.5]
    posted = [Posted("e", one, one, time, part) for one, time, part in zip(ids, times, fractions, strict=True)]
    numbers = store.add(posted).result()
    stored = [
        Stored(one.user_id, LiveEvent(number, one.track_id, one.played_at, one.played_fraction, "listen"))
        for number, one in zip(numbers, posted, strict=True)
    ]
    assert store.since(0) == stored
    assert [store.of_user(one, 0) for one in ids] == [[one.event] for one in stored]
    store.put_track(TrackNotice(ids[4], title=ids[3], artist_name=ids[4])).result()
    store.serve(ids[2], Served(ids[4], ids[3])).result()
    assert store.tracks(0)[0][4:] == (ids[3], None, ids[4], None) and store.tracks(0)[0].track_id == ids[4]
    assert store.served(ids[2]) == Served(ids[4], ids[3])


def test_the_events_of_all_users_come_a_page_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[type(store).__module__], "PAGE", 3)
    users = ["ann", "ben", "ann", "eve", "ben", "ann", "ben"]
    numbers = store.add([listen(str(n), user_id=user, played_at=n) for n, user in enumerate(users)]).result()
    found: list[Stored] = []
    sizes = []
    while page := store.since(found[-1].event.sequence if found else 0):
        sizes.append(len(page))
        found += page
    assert sizes == [3, 3, 1]
    assert [(one.user_id, one.event.sequence, one.event.played_at) for one in found] == [
        (user, number, n) for n, (user, number) in enumerate(zip(users, numbers, strict=True))
    ]


def test_an_erased_user_is_gone_but_for_the_notice_and_may_come_again(store: Store) -> None:
    posted = [listen("a"), listen("b", user_id="ben"), listen("c"), Posted("d", "ann", "u", 6, 0.0, "dislike")]
    numbers = store.add(posted).result()
    erased = store.erase("ann", 7).result()
    notice, bens = LiveEvent(erased, "", 7, 0.0, ERASED), LiveEvent(numbers[1], "t", 5, 0.5)
    assert erased > max(numbers)
    assert store.of_user("ann", 0) == store.of_user("ann", max(numbers)) == [notice]
    assert store.since(0) == [Stored("ben", bens), Stored("ann", notice)]
    [again] = store.add([listen("a", played_at=8)]).result()
    assert again > erased
    assert store.of_user("ann", 0) == [notice, LiveEvent(again, "t", 8, 0.5)]


def test_of_several_erasures_the_last_one_stays(store: Store) -> None:
    first, second, unheard = (store.erase(*one).result() for one in (("ann", 1), ("ann", 2), ("ben", 3)))
    assert first < second < unheard
    assert store.since(0) == [
        Stored("ann", LiveEvent(second, "", 2, 0.0, ERASED)),
        Stored("ben", LiveEvent(unheard, "", 3, 0.0, ERASED)),
    ]


def test_tracks_come_in_the_order_of_their_latest_change(store: Store) -> None:
    assert store.tracks(0) == []
    store.put_track(TrackNotice("a", title="A", artist_id="x", artist_name="X", album="L")).result()
    store.hide("b", True).result()
    a, b = store.tracks(0)
    assert a == TrackNotice("a", a.changed, False, True, "A", "x", "X", "L")
    assert b == TrackNotice("b", b.changed, True, False)
    assert 0 < a.changed < b.changed and store.tracks(a.changed) == [b] and store.tracks(b.changed) == []
    store.put_track(TrackNotice("a", title="A2")).result()
    [newer] = store.tracks(b.changed)
    assert newer == TrackNotice("a", newer.changed, False, True, "A2") and newer.changed > b.changed
    assert store.tracks(0) == [b, newer]


def test_a_track_stays_hidden_when_it_is_added_and_added_when_it_is_hidden_or_shown(store: Store) -> None:
    store.hide("a", True).result()
    store.put_track(TrackNotice("a", hidden=False, title="A")).result()
    [notice] = store.tracks(0)
    assert (notice.hidden, notice.added, notice.title) == (True, True, "A")
    store.hide("a", False).result()
    [notice] = store.tracks(notice.changed)
    assert (notice.hidden, notice.added, notice.title) == (False, True, "A")
    store.put_track(TrackNotice("a", hidden=True, title="B")).result()
    [notice] = store.tracks(notice.changed)
    assert (notice.hidden, notice.added, notice.title) == (False, True, "B")


def test_the_model_to_be_served_is_the_one_said_last(store: Store, other: Store) -> None:
    assert store.served("here") is None
    for served in (Served("1", "/bundles/one"), Served("2", "/bundles/two")):
        store.serve("here", served).result()
        assert store.served("here") == other.served("here") == served
    assert store.served("there") is None


def test_accuracy_is_summed_by_version_and_minute(store: Store, other: Store) -> None:
    store.add_accuracy(Accuracy("2", 7, 1, 1.0, 0.5, 0.25)).result()
    other.add_accuracy(Accuracy("1 b", 8, 2, 1.0, 0.1, 0.2)).result()
    other.add_accuracy(Accuracy("1 b", 7, 3, 2.0, 1.5, 1.25)).result()
    store.add_accuracy(Accuracy("1 b", 8, 1, 0.0, 0.2, 0.1)).result()
    first, second, third = store.accuracy(0)
    assert first == Accuracy("1 b", 7, 3, 2.0, 1.5, 1.25) and third == Accuracy("2", 7, 1, 1.0, 0.5, 0.25)
    assert second[:4] == ("1 b", 8, 3, 1.0) and second[4:] == pytest.approx((0.3, 0.3))
    assert [type(one) for one in second] == [str, int, int, float, float, float]
    assert store.accuracy(8) == [second] and store.accuracy(9) == []


def test_what_one_process_stores_another_sees_and_so_does_a_later_one(store: Store, other: Store, place: Place) -> None:
    [first] = store.add([listen("a")]).result()
    assert [one.sequence for one in other.of_user("ann", 0)] == [first]
    known, second = other.add([listen("a"), listen("b")]).result()
    assert known == 0 and second > first
    assert [one.event.sequence for one in store.since(0)] == [first, second]
    other.close()
    store.close()
    again = place.open()
    assert len(again.of_user("ann", 0)) == 2
    again.close()


def test_who_reads_on_from_the_last_number_misses_nothing_while_others_write(store: Store, other: Store) -> None:
    def write(to: Store, user_id: str) -> None:
        for n in range(200):
            to.add([listen(f"{n}{part}", user_id) for part in "ab"]).result()

    writers = [threading.Thread(target=write, args=one) for one in ((store, "ann"), (other, "ben"), (other, "eve"))]
    for writer in writers:
        writer.start()
    read: list[Stored] = []
    while any(writer.is_alive() for writer in writers):
        read += store.since(read[-1].event.sequence if read else 0)
    read += store.since(read[-1].event.sequence)
    assert len(read) == 1200 and read == store.since(0)
    assert read == sorted(read, key=lambda one: one.event.sequence)
    # what is sent together stays together
    assert [one.user_id for one in read[::2]] == [one.user_id for one in read[1::2]]


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (listen("x")._replace(played_fraction=float("nan")), "played_fraction"),
        (listen("x", played_at=2**63), "too large"),
        (listen("x", track_id="\ud800"), "surrogate"),
        (listen("x", user_id="\ud800"), "surrogate"),
    ],
)
def test_what_waits_together_is_each_stored_or_refused_alone(store: Store, broken: Posted, complaint: str) -> None:
    """What is no number, or no text, cannot be stored; what is beside it can, but for what was sent with it."""
    waiting = [store.add([listen(str(n))]) for n in range(50)]
    failing = store.add([listen("y"), broken])
    waiting += [store.add([listen(str(n))]) for n in range(50, 100)]
    numbers = [number for one in waiting for number in one.result()]
    with pytest.raises(Exception, match=complaint):
        failing.result()
    assert [one.sequence for one in store.of_user("ann", 0)] == numbers == sorted(set(numbers))
    assert len(numbers) == 100 and 0 not in numbers


def test_what_was_acknowledged_outlives_the_kill_of_the_process(place: Place) -> None:
    code = f"""
from serving.stores.store import Posted
{place.code}
for n in range(1_000_000):
    store.add([Posted(str(n), "ann", "t", n, 1.0)]).result()
    print(n, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(line) for line, _ in zip(child.stdout, range(100), strict=False)][-1]
    child.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
    child.wait()
    store = place.open()
    assert [one.played_at for one in store.of_user("ann", 0)][: acknowledged + 1] == list(range(acknowledged + 1))
    assert acknowledged >= 99
    store.close()


def test_a_closed_store_takes_nothing_more(store: Store) -> None:
    last = store.add([listen("0")])
    store.close()
    assert last.result(0) > [0]  # what waited is stored
    with pytest.raises(StoreError, match="closed"):
        store.add([listen("1")])
