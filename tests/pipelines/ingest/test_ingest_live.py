"""Ingest of posted events: each is in the lake once, whatever happens between, and erased users are gone from it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from lakes import all_events, contents, disk
from typer.testing import CliRunner

from fsvae.errors import UserError
from fsvae.kinds import KINDS
from fsvae.live_tracks import TrackNotice
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.events import _played_fraction
from fsvae.storage import Folder
from pipelines.cli.main import app
from pipelines.config.compose import load_config
from pipelines.ingest.ingest import Counts, ingest
from pipelines.ingest.live import LiveSummary, ingest_live
from pipelines.lake.lake import Lake
from pipelines.reports.describe.describe_lake import describe_lake
from pipelines.workspace import Workspace
from serving.stores.sqlite_store import SqliteStore
from serving.stores.store import Posted, Store, StoreError

HOUR = 3_600_000_000
JAN_1 = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC [us]."""
NUMBERS = itertools.count()
"""Ids of events."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "listens.sqlite")
    yield store
    store.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def post(store: Store, *events: tuple[str, str, int], kind: str = "listen", fraction: float = 1.0) -> None:
    """Post events (user, track, hours since 2026-01-01), each with an id of its own."""
    posted = [
        Posted(str(next(NUMBERS)), user, track, JAN_1 + hour * HOUR, fraction, kind) for user, track, hour in events
    ]
    assert all(store.add(posted).result())


def erase(store: Store, user_id: str, hour: int) -> None:
    store.erase(user_id, JAN_1 + hour * HOUR).result()


def take(lake: Lake, store: Store, name: str = "a") -> LiveSummary:
    return ingest_live(lake, store, name)


def put(lake: Lake, tmp_path: Path, text: str, name: str = "log.csv") -> None:
    """Ingest a CSV text, too."""
    (tmp_path / name).write_text(text)
    ingest(lake, SourceConfig(path=str(tmp_path / name), max_reject_share=0.5))


def held(lake: Lake) -> list[tuple[str, str, int]]:
    """Return what is in the lake: user, track, hours since 2026-01-01; sorted."""
    lake = Lake(lake.root)
    if not lake.manifest.days:
        return []
    hours = (pl.col("played_at").cast(pl.Int64) - JAN_1) // HOUR
    return sorted(all_events(lake).select("user_id", "track_id", hours).rows())


def log_of(lake: Lake, name: str = "a") -> dict[str, Any]:
    return Lake(lake.root).manifest.logs[f"live {name}"]


def test_what_was_posted_is_taken_once_however_often_it_is_asked_for(lake: Lake, store: SqliteStore) -> None:
    assert take(lake, store).counts == Counts() and not (disk(lake) / "manifest.json").exists()
    post(store, ("ann", "x", 1), ("ben", "y", 2), ("ann", "z", 25))
    summary = take(lake, store)
    assert (summary.counts, summary.days) == (Counts(rows_in=3, taken=3), {"2026-01-01", "2026-01-02"})
    assert held(lake) == [("ann", "x", 1), ("ann", "z", 25), ("ben", "y", 2)]
    assert lake.read_tracks()["track_id"].to_list() == ["x", "y", "z"]
    before = contents(disk(lake))
    again = take(Lake(lake.root), store)
    assert (again.counts, again.days, contents(disk(lake))) == (Counts(), set(), before)
    assert again.lines() == [f"nothing new in a after event 3; {lake.root} is as it was"]
    post(store, ("ann", "x", 3))
    more = take(lake, store)
    assert (more.counts, more.days) == (Counts(rows_in=1, taken=1), {"2026-01-01"})
    assert (log_of(lake)["rows_in"], log_of(lake)["taken"], log_of(lake)["watermark"]["sequence"]) == (4, 4, 4)


def test_late_and_repeated_events_are_where_they_belong(lake: Lake, store: SqliteStore, tmp_path: Path) -> None:
    """An event that is known already, from a log or under another id, is a duplicate."""
    put(lake, tmp_path, "user_id,track_id,played_at\nann,x,2026-01-01T01:00:00Z\n")
    post(store, ("ann", "z", 30), ("ann", "y", 2), ("ann", "x", 1), ("ann", "y", 2))
    post(store, ("ann", "y", 2), kind="like")
    summary = take(lake, store)
    assert summary.counts == Counts(rows_in=5, taken=3, duplicates=2)
    assert summary.lines()[0].startswith("5 rows in = 3 taken + 0 rejected + 2 duplicates, 2 days touched, ")
    day = lake.read_day("2026-01-01")
    assert day is not None
    assert day.select("track_id", "kind").rows() == [("x", "listen"), ("y", "listen"), ("y", "like")]
    post(store, ("ann", "w", 0))
    assert take(lake, store).days == {"2026-01-01"}
    assert held(lake)[0] == ("ann", "w", 0) and len(held(lake)) == 5


@pytest.mark.parametrize("step", ["write_day", "write_tracks", "commit", "write_rejects"])
def test_stopped_before_the_commit_nothing_is_lost_or_doubled(
    step: str, lake: Lake, store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an erasure: until the commit, the lake holds what it held."""
    put(lake, tmp_path, "user_id,track_id,played_at\nann,x,2026-01-01T01:00:00Z\nben,x,2026-01-01\nann,x,never\n")
    before = contents(disk(lake))
    post(store, ("ben", "y", 2), ("ben", "y", 26))
    erase(store, "ann", 20)
    post(store, ("ann", "new", 27))

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lake, step, stopped)
        take(lake, store)
    assert contents(disk(lake)) == before
    summary = take(lake, store)
    assert (summary.counts, summary.erased_rows) == (Counts(rows_in=3, taken=3), 1)
    assert held(lake) == [("ann", "new", 27), ("ben", "x", 0), ("ben", "y", 2), ("ben", "y", 26)]
    assert take(lake, store).counts == Counts()


def test_killed_before_any_of_its_files_the_lake_holds_all_or_nothing_of_a_commit(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(store, ("ann", "x", 1), ("ann", "x", 30), ("ben", "x", 2))
    before, whole = Lake(tmp_path / "before"), Lake(tmp_path / "whole")
    for lake in (before, whole):
        take(lake, store)
    erase(store, "ann", 20)
    post(store, ("ben", "y", 50))
    take(whole, store)
    writing, left = Folder.writing, 0

    def counted(folder: Folder, name: str) -> Any:
        nonlocal left
        if name != ".lock.json":
            left -= 1
            if not left:
                raise KeyboardInterrupt
        return writing(folder, name)

    monkeypatch.setattr(Folder, "writing", counted)
    for number in range(1, 99):
        lake = Lake(tmp_path / f"{number}")
        shutil.copytree(disk(before), disk(lake))
        left = number
        try:
            take(lake, store)
        except KeyboardInterrupt:
            assert contents(disk(lake)) == contents(disk(before))
            left = 0
            take(lake, store)
            assert contents(disk(lake)) == contents(disk(whole))
        else:
            break
    assert number == 5  # behind two days, tracks and the manifest


class Failing:
    """A store that answers some times, and then no more."""

    def __init__(self, store: Store, answers: int) -> None:
        self._store, self._answers = store, answers

    def __getattr__(self, name: str) -> Any:
        self._answers -= 1
        if self._answers < 0:
            raise StoreError("locked")
        return getattr(self._store, name)


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of two events, and commits of four."""
    monkeypatch.setattr("serving.stores.sqlite_store.PAGE", 2)
    monkeypatch.setattr("pipelines.ingest.live.PAGE", 2)
    monkeypatch.setattr("pipelines.ingest.live._EVENTS_A_COMMIT", 4)


def many(store: Store) -> list[tuple[str, str, int]]:
    """Post ten events of four users, among which two erasures are; return what should be in the lake."""
    post(store, *((f"u{hour % 4}", f"t{hour}", 20 * hour) for hour in range(7)))
    erase(store, "u0", 25)
    post(store, ("u0", "back", 10), ("u1", "t7", 7))
    erase(store, "u3", 1_000)
    post(store, ("u2", "t8", 8))
    return [("u0", "back", 10), ("u1", "t1", 20), ("u1", "t5", 100), ("u1", "t7", 7), *U2]


U2 = [("u2", "t2", 40), ("u2", "t6", 120), ("u2", "t8", 8)]


@pytest.mark.usefixtures("small_commits")
def test_several_commits_come_to_what_one_does(lake: Lake, store: SqliteStore, tmp_path: Path) -> None:
    expected = many(store)
    shares: list[tuple[str, float]] = []
    summary = ingest_live(lake, store, "a", lambda stage, share: shares.append((stage, share)))
    assert held(lake) == expected == sorted(expected) and summary.counts == Counts(rows_in=7, taken=7)
    assert shares == [
        ("2 events", 0.0),
        ("4 events", 0.0),
        ("2 events", 0.0),
        ("4 events", 0.0),
        ("1 event", 0.0),
        ("done", 1.0),
    ]
    assert log_of(lake)["watermark"]["sequence"] == 12 and log_of(lake)["rows_in"] == 7


@pytest.mark.usefixtures("small_commits")
def test_a_store_that_stops_to_answer_leaves_whole_commits(lake: Lake, store: SqliteStore) -> None:
    expected = many(store)
    with pytest.raises(UserError, match=r"locked\. Run this again"):
        take(lake, Failing(store, 5))  # type: ignore[arg-type]
    assert log_of(lake)["taken"] == 4 and len(held(lake)) == 4
    take(lake, store)
    assert held(lake) == expected


@pytest.mark.usefixtures("small_commits")
def test_what_is_erased_between_two_pages_is_not_taken(lake: Lake, store: SqliteStore) -> None:
    """The store gives the first page before the erasure, and its end after it."""
    post(store, ("ann", "x", 1), ("ben", "y", 2), ("ann", "z", 3))
    pages = [store.since(0), store.since(2)]
    erase(store, "ann", 2)
    post(store, ("ann", "x", 1))
    pages[1] += store.since(3)[:1]

    class Earlier:
        tracks = store.tracks

        def since(self, after: int) -> Sequence[Any]:
            return {0: pages[0], 2: pages[1]}.get(after) or store.since(after)

    summary = take(lake, Earlier())  # type: ignore[arg-type]
    assert (summary.counts, summary.erased_rows) == (Counts(rows_in=3, taken=3), 1)
    assert held(lake) == [("ann", "x", 1), ("ann", "z", 3), ("ben", "y", 2)]


def test_an_erased_user_is_gone_from_every_day_and_may_come_back(
    lake: Lake, store: SqliteStore, tmp_path: Path
) -> None:
    """Up to the time of the erasure: what a log holds of a later time stays."""
    log = "".join(f"ann,x,2026-01-0{day}T12:00:00Z\n" for day in (1, 2, 3, 4)) + "ben,x,2026-01-01\nben,x,2026-01-04\n"
    put(lake, tmp_path, f"user_id,track_id,played_at\n{log}")
    untouched = lake.manifest.days["2026-01-04"]
    post(store, ("ann", "posted", 1), ("cat", "x", 30))
    assert take(lake, store).counts == Counts(rows_in=2, taken=2)
    erase(store, "ann", 2 * 24 + 12)  # the moment of a listen, which goes, too
    post(store, ("ann", "late", 3), ("ann", "back", 70))
    summary = take(lake, store)
    assert (summary.counts, summary.erased_users, summary.erased_rows) == (Counts(rows_in=2, taken=2), {"ann"}, 4)
    assert summary.days == {"2026-01-01", "2026-01-02", "2026-01-03"}
    assert summary.lines()[1] == (
        "1 user erased, and 4 rows of theirs deleted; datasets and models made before still hold them"
    )
    assert held(lake) == [
        *(("ann", "back", 70), ("ann", "late", 3), ("ann", "x", 84)),
        *(("ben", "x", 0), ("ben", "x", 72), ("cat", "x", 30)),
    ]
    assert Lake(lake.root).manifest.days["2026-01-04"] == untouched  # not written anew, as nothing of it goes
    assert take(lake, store).erased_users == set()


def test_a_day_of_an_erased_user_alone_is_gone_and_so_are_the_files(lake: Lake, store: SqliteStore) -> None:
    post(store, ("ann", "x", 1), ("ben", "x", 25))
    take(lake, store)
    erase(store, "ann", 50)
    assert take(lake, store).days == {"2026-01-01"}
    assert Lake(lake.root).days() == ["2026-01-02"]
    assert [path.parent.name for path in sorted(disk(lake).glob("events/*/*.parquet"))] == ["date=2026-01-02"]
    erase(store, "ben", 50)
    summary = take(lake, store)
    assert (held(lake), summary.erased_rows, Lake(lake.root).manifest.days) == ([], 1, {})
    assert describe_lake(Lake(lake.root)).logs[0].taken == 2


def test_only_days_of_the_erased_user_are_read_whole(
    lake: Lake, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(store, *((f"u{hour}", "x", hour) for hour in range(0, 240, 6)), ("ann", "x", 100))
    take(lake, store)
    erase(store, "ann", 1_000)
    erase(store, "nobody", 1_000)
    read: list[str] = []
    read_day = Lake.read_day
    monkeypatch.setattr(Lake, "read_day", lambda lake, day: read.append(day) or read_day(lake, day))  # type: ignore[func-returns-value]
    assert take(lake, store).erased_rows == 1
    assert read == ["2026-01-05"]


def test_an_erased_user_is_gone_from_the_rejects(lake: Lake, store: SqliteStore, tmp_path: Path) -> None:
    head = "user_id,track_id,played_at\n"
    put(lake, tmp_path, head + "änn,x,never\nben,x,never\nx\nben,y,2026-01-01\nben,z,2026-01-01\nben,w,2026-01-01\n")
    put(lake, tmp_path, head + "ben,x,never\nben,v,2026-01-01\n", name="other.csv")
    with pytest.raises(UserError, match="3 of 3 rows rejected"):
        put(lake, tmp_path, head + "änn,x,never\nben,x,never\nx\n", name="refused.csv")
    (other,) = (log["rejects"] for log in lake.manifest.logs.values() if log["log"] == "other.csv")
    erase(store, "änn", 1)
    take(lake, store)
    rejects = {log["log"]: log["rejects"] for log in Lake(lake.root).manifest.logs.values() if log["rejects"]}
    assert rejects["other.csv"] == other
    for path in (rejects["log.csv"], "refused-refused.parquet"):
        rows = [json.loads(row) for row in pq.read_table(disk(lake) / path)["row"].to_pylist()]
        assert [row if isinstance(row, str) else row["user_id"] for row in rows] == ["ben", "x"]
    assert len(list(disk(lake).glob("rejects/*"))) == 2


def test_added_tracks_bring_their_metadata_and_events_the_artist(
    lake: Lake, store: SqliteStore, tmp_path: Path
) -> None:
    """Metadata of a log that comes later is the latest, and stays."""
    head = "user_id,track_id,played_at,title,artist_id,duration_ms\n"
    put(lake, tmp_path, head + "ann,old,2026-01-01,Old,bo,7\n")
    store.put_track(TrackNotice("new", title="New", artist_id="cy", artist_name="Cy", album="One")).result()
    store.put_track(TrackNotice("bare")).result()
    store.hide("old", True).result()
    post(store, ("ann", "old", 1), ("ann", "new", 2), ("ann", "unknown", 3))
    summary = take(lake, store)
    assert (summary.tracks, summary.lines()[1]) == (2, "2 tracks with the metadata that was posted")
    assert lake.read_tracks().rows() == [
        ("bare", None, None, None, None, None),
        ("new", "New", "cy", "Cy", "One", None),
        ("old", "Old", "bo", None, None, 7),
        ("unknown", None, None, None, None, None),
    ]
    assert all_events(lake)["artist_id"].to_list() == ["bo", "bo", "cy", None]
    put(lake, tmp_path, head + "ann,new,2026-01-05,Newer,,\n", name="later.csv")
    post(store, ("ann", "new", 99))
    assert take(lake, store).tracks == 0 and "Newer" in Lake(lake.root).read_tracks()["title"]
    store.hide("new", True).result()
    store.put_track(TrackNotice("bare", title="Bare")).result()
    summary = take(lake, store)
    assert (summary.counts, summary.days, summary.tracks) == (Counts(), set(), 2)
    assert Lake(lake.root).read_tracks()["title"].to_list()[0] == "Bare"


def test_the_posted_fraction_is_what_prepare_reads(lake: Lake, store: SqliteStore, tmp_path: Path) -> None:
    """In ms of a known duration, otherwise in parts of a million, which is no duration of the track."""
    put(lake, tmp_path, "user_id,track_id,played_at,duration_ms\nzoe,known,2025-01-01,187654\nzoe,zero,2025-01-01,0\n")
    fractions = [0.0, 1e-5, 1 / 3, 0.123456, 0.5, 0.99999, 1.0]
    for hour, fraction in enumerate(fractions):
        for track in ("known", "unknown", "zero"):
            post(store, ("ann", track, hour), fraction=fraction)
            post(store, ("ann", track, hour), kind="skip", fraction=fraction)
    for kind in KINDS[2:]:
        post(store, ("ben", "known", 1), kind=kind)
    take(lake, store)
    day = lake.read_day("2026-01-01")
    assert day is not None
    ann, ben = day.filter(user_id="ann"), day.filter(user_id="ben")
    table = ann.to_arrow()
    found = _played_fraction(table["ms_played"], table["duration_ms"])
    posted = (ann["played_at"].cast(pl.Int64) - JAN_1) // HOUR
    assert len(found) == 6 * len(fractions)
    assert found.tolist() == pytest.approx([fractions[hour] for hour in posted], abs=1e-5)
    assert dict(ann.select("track_id", "duration_ms").unique().rows()) == {
        "known": 187_654,
        "unknown": 1_000_000,
        "zero": 1_000_000,
    }
    assert sorted(ben["kind"]) == sorted(KINDS[2:])
    assert ben["ms_played"].null_count() == ben["duration_ms"].null_count() == len(KINDS) - 2
    assert lake.read_tracks().select("track_id", "duration_ms").rows() == [
        ("known", 187_654),
        ("unknown", None),
        ("zero", 0),
    ]


def test_each_store_has_a_watermark_of_its_own(lake: Lake, store: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "other.sqlite")
    post(store, ("ann", "x", 1), ("ann", "x", 2))
    post(other, ("ben", "x", 1))
    take(lake, store, "a")
    assert take(lake, other, "b").counts == Counts(rows_in=1, taken=1)
    post(other, ("ben", "x", 2))
    assert take(lake, store, "a").counts == Counts()
    assert take(lake, other, "b").counts == Counts(rows_in=1, taken=1)
    assert len(held(lake)) == 4
    other.close()


@pytest.mark.parametrize("events", [0, 1, 2, 3])
def test_a_store_that_was_made_anew_is_refused_until_somebody_says_that_it_is_meant(
    events: int, lake: Lake, store: SqliteStore, tmp_path: Path
) -> None:
    """However many events the new one holds."""
    post(store, ("ann", "x", 1), ("ann", "x", 2))
    take(lake, store)
    anew = SqliteStore(tmp_path / "anew.sqlite")
    post(anew, *(("ben", "y", hour) for hour in range(events)))
    with pytest.raises(UserError, match="up to event 2, and now it holds something else: it was deleted") as error:
        take(lake, anew)
    assert f"delete the entry 'live a' from logs in {lake.root}/manifest.json" in str(error.value)
    manifest = disk(lake) / "manifest.json"
    told = json.loads(manifest.read_text())
    del told["logs"]["live a"]
    manifest.write_text(json.dumps(told))
    assert take(lake, anew).counts == Counts(rows_in=events, taken=events)
    anew.close()


def test_a_store_of_tracks_alone_that_was_made_anew_is_refused_too(
    lake: Lake, store: SqliteStore, tmp_path: Path
) -> None:
    store.put_track(TrackNotice("x", title="X")).result()
    take(lake, store)
    with pytest.raises(UserError, match="made anew"):
        take(lake, SqliteStore(tmp_path / "anew.sqlite"))


def test_a_store_whose_last_event_was_erased_is_the_same_one(lake: Lake, store: SqliteStore) -> None:
    post(store, ("ann", "x", 1), ("ben", "x", 2))
    take(lake, store)
    erase(store, "ben", 3)
    assert take(lake, store).erased_rows == 1
    erase(store, "ben", 4)  # replaces the erasure
    assert take(lake, store).erased_users == {"ben"} and held(lake) == [("ann", "x", 1)]


def test_a_lake_on_an_object_store(store: SqliteStore) -> None:
    """A real S3 server on loopback."""
    expected = many(store)
    server: Any = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        where = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1&allow_bucket_creation=true"
        lake = Lake(f"s3://key:secret@posted/lake?{where}")
        lake.root.fs.create_dir("posted")  # all servers of a process share their buckets
        take(lake, store)
        assert lake.root.local is None and held(lake) == expected
        erase(store, "u1", 1_000)
        assert take(lake, store).erased_rows == 3 and take(lake, store).counts == Counts()
        assert held(lake) == [one for one in expected if one[0] != "u1"]
    finally:
        server.stop()


def fsvae(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_the_command_takes_what_was_posted_in_the_working_folder(tmp_path: Path) -> None:
    here = f"workdir={tmp_path}"
    workspace = Workspace(load_config([here]))
    with pytest.raises(UserError, match=r"listens\.sqlite: there is no such file.* fsvae serve workdir="):
        fsvae("ingest", "--source", "live", here)
    assert not workspace.live.exists()
    store = SqliteStore(workspace.live)
    post(store, ("ann", "x", 1), ("ben", "y", 2))
    assert "2 rows in = 2 taken + 0 rejected + 0 duplicates, 1 day touched" in fsvae("ingest", "--source", "live", here)
    assert held(workspace.lake()) == [("ann", "x", 1), ("ben", "y", 2)]
    assert "after event 2" in fsvae("ingest", "--source", "live", here)
    assert list(workspace.lake().manifest.logs) == [f"live {workspace.live}"]
    assert "listens.sqlite" in fsvae("describe", "--what", "lake", here)
    with pytest.raises(UserError, match=r"no path: log\.csv"):
        fsvae("ingest", "--source", "live", "log.csv", here)
    store.close()
    workspace.live.write_text("no database at all, but long enough to be looked at by SQLite: " * 20)
    with pytest.raises(UserError, match=r"listens\.sqlite: "):
        fsvae("ingest", "--source", "live", here)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("rediss://me:p@ss@cache:6379/2", "rediss://cache:6379/2"),
        ("unix:///run/redis.sock?db=1&password=secret", "unix:///run/redis.sock?db=1&"),
    ],
)
def test_the_lake_does_not_hold_the_password_of_a_store(url: str, name: str) -> None:
    config = load_config()
    config.serve.store, config.serve.redis_url = "redis", url
    assert Workspace(config).store_name == name
