"""Each source's real format: exactly which rows come of it, and what becomes of odd ones."""

from __future__ import annotations

import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import xxhash
from lakes import all_events
from log_samples import (
    EPISODE,
    LASTFM,
    PLAYLIST,
    SAMPLES,
    SESSION_REC,
    SESSIONS,
    YAMBDA_FLAT,
    YAMBDA_SEQUENTIAL,
    compressed,
    history,
    json_lines,
    listen,
    parquet,
    play,
    playlist_track,
    playlists,
    tar,
    tsv,
    uint,
)

from fsvae.errors import UserError
from fsvae.logs.checks import check_rows
from fsvae.logs.formats import json as jsonfile
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import READERS, files_of, read
from pipelines.ingest.ingest import Counts, ingest
from pipelines.lake.lake import Lake

Row = dict[str, Any]


def taken_and_bad(
    folder: Path, reader: str, name: str, data: bytes, **config: Any
) -> tuple[list[Row], list[tuple[Any, ...]]]:
    """What a file comes to: rows without nulls, and rejects as (line, field, reason)."""
    path = folder / name
    path.write_bytes(data)
    settings = SourceConfig(reader=reader, **config)
    taken, bad = [], []
    for chunk in read(path, settings):
        rows, rejects = check_rows(chunk, path, settings)
        taken += [{key: value for key, value in row.items() if value is not None} for row in rows.rows(named=True)]
        bad += rejects.select("line", "field", "reason").rows()
    return taken, sorted(bad)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


def test_every_source_documents_itself_and_has_a_sample() -> None:
    assert set(SAMPLES) == set(READERS)
    for reader, files in SAMPLES.items():
        assert (READERS[reader].__module__, bool(files)) == (f"fsvae.logs.sources.{reader}", True)


@pytest.mark.parametrize("codec", ["", "gzip", "zstd", "bz2", "lz4", "xz"])
def test_lastfm1k(tmp_path: Path, codec: str) -> None:
    suffix = {"": "", "gzip": ".gz", "zstd": ".zst"}.get(codec, f".{codec}")
    data = lzma.compress(LASTFM) if codec == "xz" else compressed(LASTFM, codec) if codec else LASTFM
    taken, bad = taken_and_bad(tmp_path, "lastfm1k", f"userid.tsv{suffix}", data)
    dogs = {"user_id": "user_000639", "kind": "listen", "artist_id": "61e0", "artist_name": "The Dogs D'Amour"}
    named = "name:" + xxhash.xxh3_128_hexdigest(b"The Dogs D'Amour\x1f\"Wait Until Dead")
    first = {"track_id": "aaaa-bbbb", "played_at": utc(2009, 4, 8, 1, 57, 47), "title": 'Fall in Love Again? (7" mix)'}
    second = {"track_id": named, "played_at": utc(2009, 4, 8, 1, 53, 56), "title": '"Wait Until Dead'}
    assert taken == [dogs | first | {"line": 1}, dogs | second | {"line": 2}]
    assert bad == [(3, "track_id", "missing")]


def test_lastfm1k_odd_rows(tmp_path: Path) -> None:
    good = ["u", "2009-04-08T01:57:47Z", "", "A", "", "T"]
    data = tsv(
        good, good[:5], [*good[:3], " A ", "", "T "], ["u", "2009", "", "A", "x", "T"], ["u", "", "", "A", "x", ""]
    )
    data += b"u\t2009-04-08T01:57:47Z\t\tA\xff\t\tT\n"
    taken, bad = taken_and_bad(tmp_path, "lastfm1k", "userid.tsv", data)
    assert [row["line"] for row in taken] == [1, 3] and taken[0]["track_id"] == taken[1]["track_id"]
    assert bad == [
        (2, "row", "wrong number of fields"),
        (4, "played_at", "not a time"),
        (5, "played_at", "missing"),
        (6, "artist_name", "not valid UTF-8 text"),
    ]


def test_session_rec(tmp_path: Path) -> None:
    taken, bad = taken_and_bad(tmp_path, "session_rec", "30music.csv.gz", compressed(SESSION_REC, "gzip"))
    common = {"user_id": "10", "kind": "listen"}
    assert taken == [
        common | {"track_id": "4698874", "played_at": utc(2014, 1, 20, 15, 17, 31), "artist_id": "44", "line": 2},
        common | {"track_id": "838286", "played_at": utc(2014, 1, 20, 15, 21, 16), "artist_id": "45", "line": 3},
    ]
    assert bad == []
    order = tsv(["Time", "ItemId", "UserId", "SessionId"], ["1", "i", "u", "s"], ["x", "i", "u", "s"], ["1", "i", "u"])
    taken, bad = taken_and_bad(tmp_path, "session_rec", "aotm.csv", order)
    assert [(row["user_id"], row["track_id"], row["line"]) for row in taken] == [("u", "i", 2)]
    assert bad == [(3, "played_at", "not a time"), (4, "row", "wrong number of fields")]
    with pytest.raises(UserError, match=r"log.csv: line 1: no column 'UserId' .* Did you mean 'UserID'\?"):
        taken_and_bad(tmp_path, "session_rec", "log.csv", tsv(["UserID", "ItemId", "Time"]))


def test_listenbrainz(tmp_path: Path) -> None:
    sent, nothing = listen()["track_metadata"], {"artist_name": "Portishead", "track_name": "Strangers"}
    lines = json_lines(
        listen(),
        listen(track_metadata=sent | {"mbid_mapping": None}),
        listen(track_metadata=nothing | {"additional_info": {"recording_msid": "inner", "duration": 2.5}}),
        listen(track_metadata=nothing | {"additional_info": {"duration_ms": "3:45"}}, recording_msid=None),
        {"user_name": "old", "listened_at": 1500000001, "recording_msid": "m", "track_metadata": nothing},
    )
    taken, bad = taken_and_bad(tmp_path, "listenbrainz", "1.listens", lines)
    assert bad == []
    assert taken[0] == {
        "user_id": "5",
        "track_id": "mapped",
        "played_at": utc(2017, 7, 14, 2, 40),
        "kind": "listen",
        "duration_ms": 237000,
        "title": "Strangers",
        "artist_id": "mapped-artist",
        "artist_name": "Portishead",
        "album": "Dummy",
        "line": 1,
    }
    named = "name:" + xxhash.xxh3_128_hexdigest(b"Portishead\x1fStrangers")
    assert [row["track_id"] for row in taken[1:]] == ["sent", "msid", named, "m"]
    assert [row.get("artist_id") for row in taken[1:]] == ["sent-artist", None, None, None]
    assert [row.get("duration_ms") for row in taken[1:]] == [237000, 2500, None, None]
    assert (taken[4]["user_id"], taken[4]["played_at"]) == ("old", utc(2017, 7, 14, 2, 40, 1))


def test_listenbrainz_odd_lines(tmp_path: Path) -> None:
    """Each line is accounted for, whatever it holds; blank lines count, but are no rows."""
    title = listen(track_metadata={"artist_name": "A", "track_name": "[untitled]"})
    lines = [
        json.dumps(listen()).encode(),
        b"",
        b"{nope",
        b"[1]",
        b"5",
        b"{}",
        json.dumps(listen(user_id={"a": 1})).encode(),
        json.dumps(listen(track_metadata=7, recording_msid=None)).encode(),
        json.dumps(title).encode() + b"\r",
        json.dumps(listen(user_name="\ud800", user_id=None)).encode(),
        json.dumps(listen(timestamp="soon")).encode(),
        b'{"user_id": NaN}',
        b'{"user_id": "a\xff"}',
        b'{"user_id": 1e999}',
        b"[" * 100_000,
        json.dumps(listen(timestamp=10**400)).encode(),
    ]
    taken, bad = taken_and_bad(tmp_path, "listenbrainz", "1.listens", b"\xef\xbb\xbf" + b"\n".join(lines))
    assert [row["line"] for row in taken] == [1, 9] and taken[1]["title"] == "[untitled]"
    assert bad == [
        (3, "row", "not JSON"),
        (4, "row", "not a JSON object"),
        (5, "row", "not a JSON object"),
        (6, "user_id", "missing"),
        (7, "row", "user_id: not a single value"),
        (8, "track_id", "missing"),
        (10, "row", "user_name: not valid Unicode text"),
        (11, "played_at", "not a time"),
        (12, "row", "not JSON"),
        (13, "row", "not JSON"),
        (14, "row", "JSON with a number too big to be read, or too deep"),
        (15, "row", "not JSON"),
        (16, "row", "JSON with a number too big to be read, or too deep"),
    ]


def test_lines_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        b"x" if n % 7 == 0 else b"" if n % 5 == 0 else json.dumps(listen(user_id=n)).encode() for n in range(1, 60)
    ]
    whole = taken_and_bad(tmp_path, "listenbrainz", "1.listens", b"\n".join(lines))
    assert [row["line"] for row in whole[0]] == [n for n in range(1, 60) if n % 7 and n % 5]
    assert [line for line, _, _ in whole[1]] == [n for n in range(1, 60) if n % 7 == 0]
    monkeypatch.setattr(jsonfile, "_BLOCK_BYTES", 300)
    assert taken_and_bad(tmp_path, "listenbrainz", "1.listens", b"\n".join(lines)) == whole
    monkeypatch.setattr(jsonfile, "_MAX_BYTES", 300)
    with pytest.raises(UserError, match=r"1.listens: line 2: longer than"):
        taken_and_bad(tmp_path, "listenbrainz", "1.listens", b"{}\n" + b"x" * 700)


@pytest.mark.parametrize("codec", ["", "zstd", "xz"])
def test_a_dump_of_listenbrainz(tmp_path: Path, codec: str) -> None:
    one, two = json_lines(listen(user_id=1)), json_lines(listen(user_id=2)) + b"x\n"
    members = {"d/COPYING": b"CC0", "d/listens/2005/1.listens": one, "d/listens/2005/2.listens": two}
    data = tar(members)
    data = lzma.compress(data) if codec == "xz" else compressed(data, codec) if codec else data
    path = tmp_path / {"": "d.tar", "zstd": "d.tar.zst", "xz": "d.tar.xz"}[codec]
    path.write_bytes(data)
    config = SourceConfig(reader="listenbrainz")
    checked = [check_rows(chunk, path, config) for chunk in read(path, config)]
    assert pl.concat([rows for rows, _ in checked])["user_id"].to_list() == ["1", "2"]
    rejects = pl.concat([bad for _, bad in checked])
    assert rejects.select("source", "line").rows() == [(f"{path}/d/listens/2005/2.listens", 2)]


def test_a_dump_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"d\.tar: the archive holds no \.listens file"):
        taken_and_bad(tmp_path, "listenbrainz", "d.tar", tar({"lbdump/user": b"x"}))
    with pytest.raises(UserError, match=r"d\.tar\.zst: line 1 or after: not readable"):
        taken_and_bad(tmp_path, "listenbrainz", "d.tar.zst", compressed(b"no archive" * 100, "zstd"))


@pytest.mark.parametrize("indent", [None, 2])
def test_spotify_history(tmp_path: Path, indent: int | None) -> None:
    local = play(spotify_track_uri=None, master_metadata_track_name=None)
    plays = [
        play(),
        EPISODE,
        play(skipped=True),
        play(skipped=None, reason_end="fwdbtn", ms_played=1500),
        play(skipped=False, reason_end="fwdbtn"),
        local,
        play(ms_played=-5),
        play(ts="yesterday"),
        play(ms_played="long"),
        play(master_metadata_track_name='a "}],[{" \\'),
        play(ms_played=9 * 10**15),
        play(ts="0000-01-01T00:00:00Z"),
    ]
    data = history(*plays, indent=indent)
    taken, bad = taken_and_bad(tmp_path, "spotify_history", "Streaming_History_Audio_1.json", data, user_id="me")
    assert taken[0] == {
        "user_id": "me",
        "track_id": "spotify:track:74cksX4vgcm0cHKaV7XE2L",
        "played_at": utc(2020, 4, 11, 0, 24, 58, 326_000),  # 174.674 s before 00:27:53
        "kind": "listen",
        "ms_played": 174674,
        "title": "Jack To The Future",
        "artist_name": "Alex Metric",
        "album": "Ammunition",
        "line": 1,
    }
    assert [(row["line"], row["kind"]) for row in taken] == [
        (1, "listen"),
        (3, "skip"),
        (4, "skip"),
        (5, "listen"),
        (10, "listen"),
    ]
    assert taken[2]["played_at"] == utc(2020, 4, 11, 0, 27, 51, 500_000)
    assert taken[4]["title"] == 'a "}],[{" \\'
    assert bad == [
        (6, "track_id", "missing"),
        (7, "ms_played", "negative or longer than 24 days"),
        (8, "played_at", "not a time"),
        (9, "ms_played", "not a number of milliseconds"),
        (11, "ms_played", "negative or longer than 24 days"),
        (12, "played_at", "not a time"),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b" ", "line 1 or after: not readable as JSON, is it whole?"),
        (b'{"a": 1}', r"line 1: expected a JSON file \[\.\.\.\], found b'{\"a\": 1}'"),
        (history(play())[:-1], "line 1 or after: not readable as JSON, is it whole?"),
        (history(play(), play())[:-40], "line 1 or after: not readable as JSON, is it whole?"),
        (b"[" * 100_000, "line 1 or after: not readable as JSON, is it whole?"),
    ],
)
def test_a_history_that_is_none_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UserError, match=r"s\.json: " + says):
        taken_and_bad(tmp_path, "spotify_history", "s.json", data, user_id="me")


def test_a_history_needs_a_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.user_id=NAME"):
        taken_and_bad(tmp_path, "spotify_history", "s.json", history(play()))


def test_elements_in_several_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, brackets and backslashes in names, and bytes that are no UTF-8 in one."""
    names = ['"', "\\", '\\"', "\\\\", "]", "},{", "[", "a,b", "é", ""]
    data = history(*(play(master_metadata_track_name=name) for name in names), {"x": []}, 5, play(), indent=1)
    data = data[::-1].replace(b"Jack"[::-1], b"\xff"[::-1], 1)[::-1]
    for at_once in (10_000, 3):
        monkeypatch.setattr(jsonfile, "_ELEMENTS_AT_ONCE", at_once)
        taken, bad = taken_and_bad(tmp_path, "spotify_history", "s.json", data, user_id="me")
        assert [row["title"] for row in taken] == names
        assert sorted(bad) == [
            (11, "track_id", "missing"),
            (12, "row", "not a JSON object"),
            (13, "row", "master_metadata_track_name: not valid Unicode text"),
        ]
    monkeypatch.setattr(jsonfile, "_MAX_ARRAY_BYTES", 600)
    with pytest.raises(UserError, match="cut the array into several files"):
        taken_and_bad(tmp_path, "spotify_history", "s.json", data, user_id="me")


@pytest.mark.parametrize("indent", [None, 4])
def test_spotify_playlists(tmp_path: Path, indent: int | None) -> None:
    empty, no_list = {"pid": 6, "tracks": []}, {"pid": 7, "tracks": "x"}
    odd = {"pid": 8, "tracks": [playlist_track(0, "c") | {"pos": "first"}, 5, playlist_track(2, "d")]}
    data = playlists(PLAYLIST, empty, no_list, odd, {"tracks": [playlist_track(0, "e")]}, indent=indent)
    taken, bad = taken_and_bad(tmp_path, "spotify_playlists", "mpd.slice.0-999.json", data)
    assert taken[0] == {
        "playlist_id": "5",
        "position": 0,
        "track_id": "spotify:track:a",
        "title": "a",
        "artist_id": "spotify:artist:3V2paBXEoZIAfZRXrHo2Sk",
        "artist_name": "Degiheugi",
        "album": "Endless Smile",
        "duration_ms": 166264,
        "line": 1,
    }
    places = [(row["playlist_id"], row["position"], row["track_id"], row["line"]) for row in taken[1:]]
    assert places == [("5", 1, "spotify:track:b", 1), ("8", 2, "spotify:track:d", 4)]
    assert bad == [
        (3, "row", "tracks: not a list"),
        (4, "position", "not a whole number from 0 on"),
        (4, "track_id", "missing"),
        (5, "playlist_id", "missing"),
    ]


def test_yambda_flat(tmp_path: Path) -> None:
    data = parquet(YAMBDA_FLAT)
    taken, bad = taken_and_bad(tmp_path, "yambda", "multi_event.parquet", data, origin="2024-03-01")
    assert bad == []
    assert taken[0] == {
        "user_id": "10",
        "track_id": "1",
        "played_at": utc(2024, 3, 1, 0, 0, 15),
        "kind": "listen",
        "ms_played": 100_000,
        "duration_ms": 200_000,
        "context": "organic",
        "line": 1,
    }
    assert (taken[1]["kind"], taken[1]["ms_played"], taken[1]["context"]) == ("skip", 29_000, "recommended")
    assert [row["kind"] for row in taken[2:]] == ["like", "dislike", "undislike"]
    odd = YAMBDA_FLAT | {"event_type": ["listen", "dance", None, "like", "like"], "uid": uint(1, 1, 1, None, 1)}
    odd["played_ratio_pct"] = uint(49, 100, 100, None, None, bits=16)
    taken, bad = taken_and_bad(tmp_path, "yambda", "multi_event.parquet", parquet(odd))
    assert [(row["line"], row["kind"]) for row in taken] == [(1, "skip"), (3, "listen"), (5, "like")]
    assert [(line, field) for line, field, _ in bad] == [(2, "kind"), (4, "user_id")]


def test_yambda_sequential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, bad = taken_and_bad(tmp_path, "yambda", "dislikes.parquet", parquet(YAMBDA_SEQUENTIAL))
    found = [(row["user_id"], row["track_id"], row["played_at"], row["kind"], row["line"]) for row in taken]
    assert found == [
        ("10", "1", utc(1970, 1, 1, 0, 0, 15), "dislike", 1),
        ("10", "2", utc(1970, 1, 1, 0, 0, 15), "dislike", 1),
        ("20", "3", utc(1970, 1, 1, 0, 0, 20), "dislike", 2),
    ]
    assert bad == []
    monkeypatch.setattr("fsvae.logs.sources.yambda._USERS_AT_ONCE", 1)
    monkeypatch.setattr("fsvae.logs.sources.yambda.BATCH_ROWS", 2)
    odd = {
        "uid": uint(1, 2, 3, 4),
        "timestamp": pa.array([[5, 10, 15], [5], [], None]),
        "item_id": pa.array([[1, None, 3], [1, 2], [], [1]]),
    }
    path = tmp_path / "likes.parquet"
    path.write_bytes(parquet(odd))
    malformed = [row for chunk in read(path, SourceConfig(reader="yambda")) for row in chunk.malformed]
    assert json.loads(malformed[0].text) == {"uid": "2", "timestamp": [5], "item_id": [1, 2]}
    taken, bad = taken_and_bad(tmp_path, "yambda", "likes.parquet", parquet(odd))
    assert [(row["user_id"], row["track_id"], row["line"]) for row in taken] == [("1", "1", 1), ("1", "3", 1)]
    unequal = "lists of unequal lengths, or none"
    assert bad == [(1, "track_id", "missing"), (2, "row", unequal), (4, "row", unequal)]


def test_yambda_files_that_are_none(tmp_path: Path) -> None:
    flat = {key: value for key, value in YAMBDA_FLAT.items() if key != "event_type"}
    with pytest.raises(UserError, match=r"mine\.parquet: expected a column event_type, or one of the file"):
        taken_and_bad(tmp_path, "yambda", "mine.parquet", parquet(flat))
    with pytest.raises(UserError, match=r"no column 'item_id' for the field track_id; it has embed"):
        taken_and_bad(tmp_path, "yambda", "embeddings.parquet", parquet({"embed": [[1.0]]}))
    with pytest.raises(UserError, match=r"column 'item_id' holds uint32, not lists of single values"):
        taken_and_bad(tmp_path, "yambda", "likes.parquet", parquet(YAMBDA_SEQUENTIAL | {"item_id": uint(1, 2)}))


def test_yambda_embeddings(tmp_path: Path) -> None:
    data = SAMPLES["yambda"]["embeddings.parquet"]()
    taken, bad = taken_and_bad(tmp_path, "yambda", "embeddings.parquet", data)
    assert taken == [
        {"track_id": "1", "embedding": [0.5, 1.5], "line": 1},
        {"track_id": "2", "embedding": [2.5, -1.0], "line": 2},
    ]
    assert bad == []
    fixed = {"item_id": uint(1), "embed": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))}
    assert taken_and_bad(tmp_path, "yambda", "e.parquet", parquet(fixed))[0][0]["embedding"] == [1.0, 2.0]


def test_sessions(tmp_path: Path) -> None:
    taken, bad = taken_and_bad(tmp_path, "sessions", "train.parquet", parquet(SESSIONS), origin="2020-02-29")
    assert bad == []
    assert [(row["user_id"], row["track_id"], row["played_at"], row["line"]) for row in taken] == [
        ("train:2020-02-29:0", "1", utc(2020, 2, 29), 1),
        ("train:2020-02-29:0", "2", utc(2020, 2, 29, 0, 0, 30), 2),
        ("train:2020-02-29:1", "3", utc(2020, 2, 29, 0, 1), 3),
        ("train:2020-02-29:1", "4", utc(2020, 2, 29, 0, 1, 30), 4),
        ("train:2020-02-29:1", "3", utc(2020, 2, 29, 0, 2), 5),
    ]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_sessions_out_of_order_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr("fsvae.logs.formats.parquet.read_parquet.__defaults__", ((), batch, False))
    rows = {"session_id": [0, 0, 0, 1, 1, None], "position": [0, 2, 1, 1, None, 0], "track_id": [1, 2, 3, 4, 5, 6]}
    taken, bad = taken_and_bad(tmp_path, "sessions", "s.parquet", parquet(rows))
    assert [row["line"] for row in taken] == [1, 2, 4]
    late = "position is not behind that of the row before in its session"
    assert bad == [(3, "row", late), (5, "row", late), (6, "user_id", "missing")]


def test_one_file_of_sessions_behind_another(tmp_path: Path) -> None:
    """Both number their sessions from 0; the same file again changes nothing."""
    lake = Lake(tmp_path / "lake")
    for name, origin in [("train", "2020-01-01"), ("test", "2020-01-02"), ("test", "2020-01-02")]:
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(parquet(SESSIONS))
        summary = ingest(lake, SourceConfig(reader="sessions", path=str(path), origin=origin))
    assert (summary.known_files, summary.counts) == (1, Counts())
    events = all_events(Lake(lake.root))
    assert events["user_id"].n_unique() == 4
    in_time = events.sort("played_at")
    assert in_time["track_id"].to_list() == ["1", "2", "3", "4", "3"] * 2
    assert in_time["user_id"].str.starts_with("train").to_list() == [True] * 5 + [False] * 5


def test_of_a_folder_only_the_logs_are_read(tmp_path: Path) -> None:
    for name in ("ReadMeFirst.pdf", "Streaming_History_Audio_1.json", "Streaming_History_Video_1.json"):
        (tmp_path / name).touch()
    config = SourceConfig(reader="spotify_history", path=str(tmp_path))
    assert [path.name for path in files_of(config)] == ["Streaming_History_Audio_1.json"]
    config.path = str(tmp_path / "ReadMeFirst.pdf")
    assert [path.name for path in files_of(config)] == ["ReadMeFirst.pdf"]
    with pytest.raises(UserError, match=r"no listening log there \(mpd\.slice\.\*\.json\*\)"):
        files_of(SourceConfig(reader="spotify_playlists", path=str(tmp_path)))


def test_accounts_of_every_source(tmp_path: Path) -> None:
    """Through ingest: rows in = taken + rejected + duplicates, also of a file with each row twice."""
    for reader, files in SAMPLES.items():
        for name, make in files.items():
            path = tmp_path / reader / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(make())
            config = SourceConfig(reader=reader, path=str(path), user_id="me", time_unit="s", max_reject_share=0.5)
            counts = ingest(Lake(tmp_path / "lakes" / reader / name), config).counts
            assert counts.rows_in == counts.taken + counts.rejected + counts.duplicates > 0
            assert counts.taken > 0
