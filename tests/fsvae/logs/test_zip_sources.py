"""ZIPs: their members are read as the files of a folder are, one by one and without unpacking."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lakes import all_events
from log_samples import (
    JODIE,
    LASTFM,
    PLAYLIST,
    SPOTIFY_DOWNLOAD,
    TABLE,
    compressed,
    json_lines,
    listen,
    parquet,
    playlist_track,
    playlists,
    zipped,
)

from fsvae.errors import UserError
from fsvae.logs.checks import check_rows
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import files_of, read
from pipelines.ingest.ingest import Counts, ingest
from pipelines.lake.lake import Lake

HEADER = b"user_id,track_id,played_at\n"


def rows_of(path: Path, reader: str = "table", **config: Any) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """(line, track) of the rows of a ZIP, and its rejects as (source within the ZIP, line, reason)."""
    settings = SourceConfig(reader=reader, user_id="me", time_unit="s", **config)
    checked = [check_rows(chunk, path, settings) for chunk in read(path, settings)]
    rejects = pl.concat([bad for _, bad in checked]).select(
        pl.col("source").str.strip_prefix(f"{path}/"), "line", "reason"
    )
    return pl.concat([rows.select("line", "track_id") for rows, _ in checked]).rows(), rejects.rows()


def put(folder: Path, members: dict[str, bytes], name: str = "log.zip", method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / name
    path.write_bytes(zipped(members, method))
    return path


def test_the_history_that_spotify_sends(tmp_path: Path) -> None:
    """Its audio files in order of name (2019, 2020), not the episode, the video nor the PDF; ingested it is one log."""
    path = put(tmp_path, SPOTIFY_DOWNLOAD, "my_spotify_data.zip")
    track = "spotify:track:74cksX4vgcm0cHKaV7XE2L"
    assert rows_of(path, "spotify_history") == ([(1, track), (1, track)], [])
    config = SourceConfig(reader="spotify_history", path=str(path), user_id="me")
    lake = Lake(tmp_path / "lake")
    assert ingest(lake, config).counts == Counts(rows_in=2, taken=2)
    assert ingest(lake, config).known_files == 1
    assert sorted(all_events(lake)["played_at"].dt.year()) == [2018, 2020]  # 2019 began as that play ended
    with pytest.raises(UserError, match=r"my_spotify_data\.zip/.*_2019_0\.json: .* source\.user_id=NAME"):
        list(read(path, SourceConfig(reader="spotify_history")))


def test_the_million_playlists(tmp_path: Path) -> None:
    other = {"pid": 9, "tracks": [playlist_track(0, "c"), playlist_track(-1, "d")]}
    members = {"data/mpd.slice.1000-1999.json": playlists(other), "data/mpd.slice.0-999.json": playlists(PLAYLIST)}
    path = put(tmp_path, members | {"README.md": b"x", "src/stats.py": b"x"})
    taken, bad = rows_of(path, "spotify_playlists")
    assert taken == [(1, "spotify:track:a"), (1, "spotify:track:b"), (1, "spotify:track:c")]
    assert bad == [("data/mpd.slice.1000-1999.json", 1, "not a whole number from 0 on")]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_csv_by_any_method(tmp_path: Path, method: int) -> None:
    members = {"2.csv": HEADER + b"u,b,1\nu,b\n", "1.csv": TABLE, "sub/3.csv.gz": compressed(TABLE, "gzip")}
    path = put(tmp_path, members, method=method)
    assert rows_of(path) == (
        [(2, "t"), (3, "t"), (2, "b"), (2, "t"), (3, "t")],
        [("2.csv", 3, "wrong number of fields")],
    )


@pytest.mark.parametrize(
    ("reader", "name", "data", "rows"),
    [
        ("jodie", "lastfm.csv", JODIE, 2),
        ("lastfm1k", "userid-timestamp-artid-artname-traid-traname.tsv", LASTFM, 2),
        ("listenbrainz", "listens/1.listens", json_lines(listen(), listen()), 2),
    ],
)
def test_other_sources(tmp_path: Path, reader: str, name: str, data: bytes, rows: int) -> None:
    assert len(rows_of(put(tmp_path, {name: data}), reader)[0]) == rows


def test_hidden_members_and_those_that_lead_outside_are_left_out(tmp_path: Path) -> None:
    names = ["__MACOSX/._1.csv", ".DS_Store", "_SUCCESS", "../1.csv", "/etc/1.csv", "a/../../1.csv"]
    path = put(tmp_path, dict.fromkeys(names, b"no log") | {"a//1.csv": TABLE, "folder/": b""})
    assert rows_of(path)[0] == [(2, "t"), (3, "t")]
    with pytest.raises(UserError, match=r"log\.zip: the archive holds no listening log\.$"):
        rows_of(put(tmp_path, dict.fromkeys(names, TABLE)))
    with pytest.raises(UserError, match=r"the archive holds no listening log \(userid-timestamp-\*\.tsv\*\)"):
        rows_of(put(tmp_path, {"1.csv": TABLE}), "lastfm1k")


def test_zips_in_a_folder(tmp_path: Path) -> None:
    """Those that hold a log are read, the others left out like other files; so is a folder that ends with .zip."""
    put(tmp_path, SPOTIFY_DOWNLOAD, "my_spotify_data.zip")
    put(tmp_path, {"photo.jpg": b"x"}, "photos.zip")
    (tmp_path / "unpacked.zip").mkdir()
    (tmp_path / "unpacked.zip" / "endsong_0.json").write_bytes(b"[]")
    config = SourceConfig(reader="spotify_history", path=str(tmp_path), user_id="me")
    assert [path.name for path in files_of(config)] == ["my_spotify_data.zip", "endsong_0.json"]
    assert ingest(Lake(tmp_path / "lake"), config).counts == Counts(rows_in=2, taken=2)


def test_parquet_is_not_streamed_out_of_a_zip(tmp_path: Path) -> None:
    path = put(tmp_path, {"1.parquet": parquet({"user_id": ["u"]})})
    for reader in ("table", "sessions", "yambda"):
        with pytest.raises(UserError, match=r"log\.zip/1\.parquet: Parquet cannot be streamed out of a ZIP; unzip it"):
            rows_of(path, reader)


def with_flag(data: bytes, flag: int) -> bytes:
    """Set a flag of the only member, which stands in two places (APPNOTE.TXT, 4.3.7 and 4.3.12)."""
    changed = bytearray(data)
    changed[6] |= flag
    changed[data.index(b"PK\x01\x02") + 8] |= flag
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", r"log\.zip: the file is empty"),
        (b"no archive", r"log\.zip: not a ZIP archive that can be read: File is not a zip file"),
        (zipped({"1.csv": TABLE})[:-30], r"log\.zip: not a ZIP archive that can be read"),
        (zipped({"1.csv": b""}), r"log\.zip/1\.csv: the file is empty"),
        (zipped({"1.csv": bytes(range(256))}), r"log\.zip/1\.csv: a binary file"),
        (
            zipped({"1.csv": TABLE}, 0).replace(b"1769861100", b"1769861101", 1),
            r"log\.zip/1\.csv: line 1: .*Bad CRC-32",
        ),
        (with_flag(zipped({"1.csv": TABLE}), 1), r"log\.zip/1\.csv: line 1: .*encrypted"),
        (
            zipped({"1.csv": TABLE}, 0).replace(b"\0\0\0\0\0\0!\0", b"\0\0\x09\0\0\0!\0"),
            r"log\.zip/1\.csv: .*compression",
        ),
    ],
    ids=["empty", "none", "cut", "empty member", "binary member", "damaged", "encrypted", "unknown compression"],
)
def test_zips_that_cannot_be_read(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "log.zip").write_bytes(data)
    with pytest.raises(UserError, match=says):
        rows_of(tmp_path / "log.zip")
