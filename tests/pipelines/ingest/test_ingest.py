"""Ingest: where every row goes, and that the lake does not care how often or in which pieces a log comes."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakes import all_events, disk

from fsvae.errors import UserError
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import read
from fsvae.prepare.buckets import buckets_of, slices_of
from fsvae.schema import LAKE_EVENTS, REJECTS, TRACKS
from pipelines.ingest.ingest import Counts, IngestSummary, ingest
from pipelines.lake.lake import Lake

HEADER = "user_id,track_id,played_at,kind,ms_played\n"


def put(root: Path, text: str, name: str = "log.csv", **config: Any) -> tuple[Lake, IngestSummary]:
    """Ingest a CSV text into the lake under `root`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    lake = Lake(root / "lake")
    return lake, ingest(lake, SourceConfig(path=str(root / name), **config))


def events_of(lake: Lake) -> list[tuple[Any, ...]]:
    events = all_events(Lake(lake.root))
    return events.select("user_id", "track_id", pl.col("played_at").dt.strftime("%d %H:%M"), "kind").rows()


def files_of(root: Path) -> dict[str, bytes]:
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith((".lock", "refused-")))
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def rows(*rows: str) -> str:
    return HEADER + "".join(f"{row}\n" for row in rows)


def test_the_accounting_of_one_log(tmp_path: Path) -> None:
    text = rows(
        "u,a,2026-01-01T10:00:00Z,listen,5",
        "u,a,2026-01-01T10:00:00Z,listen,6",  # the same listen once more
        "u,a,2026-01-01T11:00:00+01:00,,",  # and in another zone
        "u,a,2026-01-01T10:00:00Z,like,",  # a like is not the listen
        ",a,2026-01-01T10:00:00Z,listen,",
        "u,b,2026-01-02T10:00:00Z,listen,-1",
        ",b,2026-01-02T10:00:00Z,listen,-1",
        "x",
        "u,b,2026-01-02T10:00:00Z,listen,1",
    )
    lake, summary = put(tmp_path, text, max_reject_share=0.5)
    reasons = {
        "user_id: missing": 2,
        "ms_played: negative or longer than 24 days": 1,
        "row: wrong number of fields": 1,
    }
    counts = Counts(rows_in=9, taken=3, rejected=4, duplicates=2, reasons=reasons)
    assert (summary.counts, summary.files, summary.known_files) == (counts, 1, 0)
    assert summary.days == ["2026-01-01", "2026-01-02"]
    (log,) = lake.manifest.logs.values()
    assert (log["log"], log["rows_in"], log["taken"], log["rejected"], log["duplicates"]) == ("log.csv", 9, 3, 4, 2)
    assert log["reasons"] == reasons
    rejects = pq.read_table(disk(lake) / log["rejects"])
    assert rejects.schema.equals(REJECTS)
    assert sorted(zip(rejects["line"].to_pylist(), rejects["field"].to_pylist(), strict=True)) == [
        (6, "user_id"),
        (7, "ms_played"),
        (8, "user_id"),
        (9, "row"),
    ]
    first = lake.read_day("2026-01-01")
    assert first is not None and first["ms_played"].to_list() == [5, None]  # of equal listens the first is kept
    assert {day: entry["rows"] for day, entry in lake.manifest.days.items()} == {"2026-01-01": 2, "2026-01-02": 1}
    day_file = disk(lake) / lake.manifest.days["2026-01-01"]["path"]
    assert day_file.parent.name == "date=2026-01-01"
    assert pq.ParquetFile(day_file).schema_arrow.equals(LAKE_EVENTS)


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    text = rows("u,a,2026-01-01T10:00:00Z,,", "u,b,2026-01-01T10:00:00Z,,")
    lake, _ = put(tmp_path, text)
    before = files_of(disk(lake))
    _, summary = put(tmp_path, text, name="copy.csv")
    assert (summary.counts, summary.files, summary.known_files, summary.days) == (Counts(), 1, 1, [])
    assert files_of(disk(lake)) == before


def test_duplicates_across_files(tmp_path: Path) -> None:
    put(tmp_path, rows("u,a,2026-01-01T10:00:00Z,,1", "u,b,2026-01-01T11:00:00Z,,1"))
    lake, summary = put(tmp_path, rows("u,b,2026-01-01T11:00:00Z,,2", "u,c,2026-01-01T10:30:00Z,,2"), name="more.csv")
    assert summary.counts == Counts(rows_in=2, taken=1, duplicates=1)
    day = lake.read_day("2026-01-01")
    assert day is not None
    assert day.select("track_id", "ms_played").rows() == [("a", 1), ("c", 2), ("b", 1)]
    old = set(lake.manifest.days)
    _, summary = put(tmp_path, rows("u,b,2026-01-01T11:00:00Z,,3"), name="nothing-new.csv")
    assert summary.counts == Counts(rows_in=1, duplicates=1) and summary.days == []
    assert set(Lake(lake.root).manifest.days) == old and len(Lake(lake.root).manifest.logs) == 3


def test_late_events_land_in_their_own_day(tmp_path: Path) -> None:
    put(tmp_path, rows("u,a,2026-01-02T00:00:00Z,,"))
    lake, summary = put(
        tmp_path, rows("u,c,2026-01-03T00:00:00Z,,", "u,b,2026-01-01T23:59:59.999999Z,,"), name="late.csv"
    )
    assert summary.days == ["2026-01-01", "2026-01-03"]
    assert events_of(lake) == [
        ("u", "b", "01 23:59", "listen"),
        ("u", "a", "02 00:00", "listen"),
        ("u", "c", "03 00:00", "listen"),
    ]


def test_order_is_bucket_user_time_and_position(tmp_path: Path) -> None:
    """The buckets are xxh64 of the name modulo 64, slices what the next bits say; worked out apart from the code."""
    assert buckets_of(pl.Series(["eva", "zoe", "adam", "eva"])).to_list() == [57, 59, 3, 57]
    assert slices_of(["eva", "zoe", "adam", "eva"], 8).tolist() == [7, 3, 7, 7]
    text = rows(
        "eva,c,2026-01-01T10:00:00Z,,",
        "zoe,z,2026-01-01T12:00:00Z,,",
        "eva,b,2026-01-01T10:00:00Z,,",
        "adam,x,2026-01-01T09:00:00Z,,",
        "eva,a,2026-01-01T10:00:00Z,,",
        "zoe,y,2026-01-01T11:00:00Z,,",
    )
    lake, _ = put(tmp_path, text)
    lake, _ = put(tmp_path, rows("eva,0,2026-01-01T10:00:00Z,,", "eva,1,2026-01-01T09:00:00Z,,"), name="more.csv")
    expected = [("adam", "x"), *(("eva", track) for track in "1cba0"), ("zoe", "y"), ("zoe", "z")]
    assert [(user, track) for user, track, _, _ in events_of(lake)] == expected


def test_tracks_keep_the_latest_that_is_known(tmp_path: Path) -> None:
    header = "user_id,track_id,played_at,title,artist_id,duration_ms\n"
    put(tmp_path, header + "u,b,2026-01-01,New,x,2\nu,a,2026-01-01,,,\nu,b,2026-01-02,Old,,1\nu,b,2026-01-03,New,x,2\n")
    lake, _ = put(tmp_path, header + "u,b,2026-01-04,,y,\n", name="more.csv")
    tracks = lake.read_tracks()
    assert tracks.columns == TRACKS.names
    assert tracks.select("track_id", "title", "artist_id", "duration_ms").rows() == [
        ("a", None, None, None),
        ("b", "New", "y", 2),
    ]


def test_titles_that_come_later_are_taken_from_duplicates(tmp_path: Path) -> None:
    text = "user_id,track_id,played_at,name,artist\nu,a,2026-01-01,Halo,Bo\nu,b,2026-01-02,Neon,Cy\n"
    put(tmp_path, text)
    lake, summary = put(tmp_path, text, columns={"title": "name", "artist_name": "artist"})
    assert summary.counts == Counts(rows_in=2, duplicates=2) and summary.days == []
    assert summary.lines()[1:] == [
        "no listen is new, but metadata of tracks is: it was taken, and fsvae prepare makes a dataset with it"
    ]
    assert Lake(lake.root).read_tracks().select("title", "artist_name").rows() == [("Halo", "Bo"), ("Neon", "Cy")]
    assert len(all_events(lake)) == 2


def test_a_log_larger_than_memory_goes_in_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait for the log's end on the disk: days, order, duplicates, titles and rejects come out the same."""
    text = "user_id,track_id,played_at,title\n"
    text += "".join(f"u{n % 3},{n % 5},2026-02-0{1 + n % 4}T00:0{n % 7}:00Z,title {n % 11}\n" for n in range(60))
    text += "u,,2026-02-01,\nu,a,never,\n" * 2
    whole, _ = put(tmp_path / "whole", text, max_reject_share=0.5)
    monkeypatch.setattr("pipelines.ingest.ingest._EVENTS_IN_MEMORY", 7)
    monkeypatch.setattr("pipelines.ingest.ingest._REJECTS_IN_MEMORY", 1)
    monkeypatch.setattr(
        "pipelines.ingest.ingest.read",
        lambda *log: (replace(chunk, rows=rows) for chunk in read(*log) for rows in chunk.rows.iter_slices(5)),
    )
    pieces, _ = put(tmp_path / "pieces", text, max_reject_share=0.5)
    assert pieces.manifest == whole.manifest
    (log,) = pieces.manifest.logs.values()
    rejects = [pl.read_parquet(disk(lake) / log["rejects"]).drop("source") for lake in (whole, pieces)]
    assert rejects[0].equals(rejects[1])


def test_too_many_rejects_take_nothing_and_are_kept(tmp_path: Path) -> None:
    good = [f"u,a,2026-01-01T10:{minute:02d}:00Z,," for minute in range(19)]
    lake, summary = put(tmp_path, rows(*good, "u,a,never,,"))  # 1 of 20 is 5 %, which is allowed
    assert summary.counts.rejected == 1
    before = files_of(disk(lake))
    with pytest.raises(UserError) as error:
        put(tmp_path, rows("u,b,2026-02-01,,", *good[1:], "u,a,never,,"), name="bad.csv", max_reject_share=0.049)
    assert "1 of 20 rows rejected" in str(error.value)
    assert "line 21, played_at: not a time; source.time_unit says how times are written: 'never'" in str(error.value)
    kept = disk(lake) / "refused-bad.parquet"
    assert str(kept) in str(error.value) and pl.read_parquet(kept)["line"].to_list() == [21]
    assert files_of(disk(lake)) == before


def test_logs_before_a_faulty_one_stay(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "1.csv").write_text(rows("u,a,2026-01-01,,"))
    (logs / "2.csv").write_text(rows("u,a,never,,"))
    (logs / "3.csv").write_text(rows("u,c,2026-01-03,,"))
    lake = Lake(tmp_path / "lake")
    with pytest.raises(UserError, match=r"2\.csv: 1 of 1 rows rejected"):
        ingest(lake, SourceConfig(path=str(logs)))
    assert list(Lake(lake.root).manifest.days) == ["2026-01-01"]
    (logs / "2.csv").write_text(rows("u,b,2026-01-02,,"))
    seen: list[tuple[int, int]] = []
    summary = ingest(lake, SourceConfig(path=str(logs)), lambda name, share: seen.append((name, share)))
    assert (summary.files, summary.known_files, summary.counts.taken) == (3, 1, 2)
    assert [share for _, share in seen] == [1 / 3, 2 / 3, 1.0]


def test_a_header_alone_is_no_log_but_does_no_harm_among_others(tmp_path: Path) -> None:
    for name, text, config in [
        ("1.csv", HEADER, SourceConfig()),
        ("1.csv", "user_id,item_id,timestamp,state_label\n", SourceConfig(reader="jodie", time_unit="s")),
    ]:
        path = tmp_path / config.reader / name
        path.parent.mkdir()
        path.write_text(text)
        config.path = str(path)
        for _ in range(2):
            with pytest.raises(UserError, match="no listens there"):
                ingest(Lake(tmp_path / "empty"), config)
    logs = tmp_path / "table"
    (logs / "2.csv").write_text(rows("u,a,2026-01-01,,"))
    lake = Lake(tmp_path / "lake")
    assert ingest(lake, SourceConfig(path=str(logs))).counts == Counts(rows_in=1, taken=1)
    assert ingest(lake, SourceConfig(path=str(logs))).known_files == 1


CELL = st.sampled_from(
    [
        "u",
        "v",
        "a",
        "b",
        "",
        " ",
        "2026-01-01",
        "2026-01-01T10:00:00Z",
        "listen",
        "like",
        "-1",
        "7",
        '"',
        ",",
        "\n",
        "é",
    ]
)
GARBAGE = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2FF), max_size=12)
ROW = st.one_of(
    st.sampled_from([f"{u},{t},2026-01-0{d},," for u in "uv" for t in "ab" for d in "12"]),
    st.lists(CELL, min_size=1, max_size=6).map(",".join),
    GARBAGE,
)


@given(st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_row_is_lost_or_invented(logs: list[list[str]]) -> None:
    """Any text at all: rows in = taken + rejected + duplicates, and the lake holds what was taken."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        taken = 0
        for index, log in enumerate(logs):
            path = root / f"{index}.csv"
            path.write_bytes((HEADER + "\n".join(log)).encode())
            lake = Lake(root / "lake")
            try:
                summary = ingest(lake, SourceConfig(path=str(path), max_reject_share=1.0))
            except UserError as error:  # a quote that is never closed, many NULs, or nothing but empty lines
                assert any(c in "".join(log) for c in '"\0') or "no listens there" in str(error)
                continue
            counts = summary.counts
            assert counts.rows_in == counts.taken + counts.rejected + counts.duplicates
            assert sum(counts.reasons.values()) == counts.rejected
            if not any(c in "".join(log) for c in '"\n\r'):
                assert counts.rows_in == (0 if summary.known_files else sum(row != "" for row in log))
            taken += counts.taken
        manifest = Lake(root / "lake").manifest
        assert sum(day["rows"] for day in manifest.days.values()) == taken
        for log_entry in manifest.logs.values():
            if log_entry["rejects"]:
                assert len(pl.read_parquet(root / "lake" / log_entry["rejects"])) == log_entry["rejected"]


def test_the_simulated_log_goes_in_whole(small_lake: Lake, small_log: Path) -> None:
    log = pl.concat([pl.read_parquet(path) for path in sorted(small_log.iterdir())])
    logs = list(small_lake.manifest.logs.values())
    assert sum(entry["rows_in"] for entry in logs) == sum(entry["taken"] for entry in logs) == len(log)
    events = all_events(small_lake)
    order = ["user_id", "played_at", "track_id", "kind"]
    assert events.select(order).sort(order).equals(log.select(order).sort(order))
    assert small_lake.read_tracks()["track_id"].to_list() == sorted(set(log["track_id"]))


def test_the_manifest_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    lake, _ = put(tmp_path, rows("u,a,2026-01-01,,"))
    manifest = json.loads((disk(lake) / "manifest.json").read_text())
    assert manifest["schema_version"] == 2 and manifest["n_buckets"] == 64
    assert events_of(lake) == [("u", "a", "01 00:00", "listen")]
    day = lake.read_day("2026-01-01")
    assert day is not None and day["played_at"][0] == datetime(2026, 1, 1, tzinfo=UTC)
