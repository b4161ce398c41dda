"""The readers: which rows, with which line numbers, and a clear word where a file is not what it should be."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsvae.errors import UserError
from fsvae.logs.checks import check_rows
from fsvae.logs.formats import csv as csvfile
from fsvae.logs.source import Malformed
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import READERS, files_of, read

PARQUET = ("sessions", "yambda")
HEADER = "user_id,track_id,played_at\n"
NOON = "2026-01-31T12:00:00Z"
NOON_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
JODIE = "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n"


def taken_and_bad(path: Path, config: SourceConfig) -> tuple[list[Any], list[Any]]:
    """(line, user, track) of the events and (line, field, reason) of the rejects, in order of line."""
    events, rejects = [], []
    for chunk in read(path, config):
        good, bad = check_rows(chunk, path, config)
        events += good.select("line", "user_id", "track_id").rows()
        rejects += bad.select("line", "field", "reason").rows()
    return sorted(events), sorted(rejects)


def lines_of(tmp_path: Path, text: str | bytes, **config: Any) -> tuple[list[Any], list[Any]]:
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return taken_and_bad(path, SourceConfig(**config))


def first_row(path: Path, config: SourceConfig) -> dict[str, Any]:
    (chunk,) = read(path, config)
    return check_rows(chunk, path, config)[0].row(0, named=True)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_jodie_has_more_fields_than_its_header(tmp_path: Path, name: str) -> None:
    text = (JODIE + "0,10,0.0,0,.1,.2,.3\n7,11,6.5,1,.1,.2,.3\n7,11,6.5,1,.1,.2\n7,11,6.5,1\n").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
    config = SourceConfig(reader="jodie", time_unit="s", origin="2026-01-31")
    malformed = [(4, "row", "wrong number of fields"), (5, "row", "wrong number of fields")]
    assert taken_and_bad(path, config) == ([(2, "0", "10"), (3, "7", "11")], malformed)
    chunks = [check_rows(chunk, path, config)[0] for chunk in read(path, config)]
    assert pl.concat(chunks)["played_at"].to_list() == [
        datetime(2026, 1, 31, tzinfo=UTC),
        datetime(2026, 1, 31, 0, 0, 6, 500_000, tzinfo=UTC),
    ]


def test_jodie_without_features(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp,state_label\n\n0,1,2,0\n"
    assert lines_of(tmp_path, text, reader="jodie", time_unit="s") == ([(3, "0", "1")], [])


@pytest.mark.parametrize(("delimiter", "name"), [(",", "log.csv"), (";", "log.txt"), ("\t", "log.tsv.gz")])
def test_table_maps_columns(tmp_path: Path, delimiter: str, name: str) -> None:
    rows = [["when", "song", "who", "ms"], ["1769860800000", "t", '"u"', "5"]]
    text = "\n".join(delimiter.join(row) for row in rows).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text, mtime=0) if name.endswith("gz") else text)
    columns = {"user_id": "who", "track_id": "song", "played_at": "when", "ms_played": "ms"}
    row = first_row(path, SourceConfig(columns=columns, delimiter=delimiter, time_unit="ms"))
    assert (row["user_id"], row["track_id"], row["played_at"], row["ms_played"]) == ("u", "t", NOON_AT, 5)


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_table_reads_parquet(tmp_path: Path, zone: str | None, unit: str) -> None:
    at = NOON_AT if zone else NOON_AT.replace(tzinfo=None)
    table = pa.table(
        {
            "who": pa.array(["u", "u"]).dictionary_encode(),
            "song": [1, None],
            "played_at": pa.array([at, at], pa.timestamp(unit, zone)),
        }
    )
    path = tmp_path / "log.parquet"
    pq.write_table(table, path)
    config = SourceConfig(columns={"user_id": "who", "track_id": "song"})
    assert taken_and_bad(path, config) == ([(1, "u", "1")], [(2, "track_id", "missing")])
    assert first_row(path, config)["played_at"] == NOON_AT


def test_line_numbers_count_empty_and_malformed_lines(tmp_path: Path) -> None:
    text = HEADER + f"\nu,t,{NOON}\n\n\nx\nu,,{NOON}\n\na,b,c,d\nv,t,{NOON}\n\n"
    wrong = "wrong number of fields"
    expected = [(3, "u", "t"), (10, "v", "t")], [(6, "row", wrong), (7, "track_id", "missing"), (9, "row", wrong)]
    assert lines_of(tmp_path, text) == expected
    assert lines_of(tmp_path, text.replace("\n", "\r\n")) == expected


def test_malformed_rows_at_the_end_and_alone(tmp_path: Path) -> None:
    wrong = "wrong number of fields"
    assert lines_of(tmp_path, HEADER + f"u,t,{NOON}\nx\ny") == ([(2, "u", "t")], [(3, "row", wrong), (4, "row", wrong)])
    assert lines_of(tmp_path, HEADER + "x\n") == ([], [(2, "row", wrong)])


def test_malformed_rows_keep_their_text_and_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(HEADER.encode() + b"caf\xe9,t\n" + f"u,t,{NOON}\n".encode() + b"caf\xe9,t,x\n")
    chunks = list(read(path, SourceConfig()))
    assert [bad for chunk in chunks for bad in chunk.malformed] == [Malformed(2, "caf\\xe9,t")]
    assert taken_and_bad(path, SourceConfig())[1][1] == (4, "user_id", "not valid UTF-8 text")


def test_line_numbers_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third line is malformed and every seventh empty; a block holds a few rows only."""
    monkeypatch.setattr(csvfile, "_BLOCK_BYTES", 200)
    rows = ["" if line % 7 == 0 else "x" if line % 3 == 0 else f"user{line},track,{NOON}" for line in range(2, 300)]
    events, rejects = lines_of(tmp_path, HEADER + "\n".join(rows))
    assert events == [(n, f"user{n}", "track") for n in range(2, 300) if n % 7 and n % 3]
    assert rejects == [(n, "row", "wrong number of fields") for n in range(2, 300) if n % 7 and n % 3 == 0]


def test_a_byte_order_mark_and_quoted_names_are_no_part_of_the_header(tmp_path: Path) -> None:
    text = '\ufeff"user_id", track_id ,"played_at","a, b"\nu,t,' + NOON + ",x\n"
    assert lines_of(tmp_path, text) == ([(2, "u", "t")], [])


def test_a_wrong_column_name_names_file_line_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,track_id,played_at\n")
    with pytest.raises(UserError) as error:
        list(read(path, SourceConfig(columns={"user_id": "usr"})))
    assert f"{path}: line 1: no column 'usr' for the field user_id" in str(error.value)
    assert "Did you mean 'user'?" in str(error.value)
    with pytest.raises(UserError, match=r"'user_idd' is not a field.*Did you mean 'user_id'\?"):
        list(read(path, SourceConfig(columns={"user_idd": "user"})))
    pq.write_table(pa.table({"user_id": ["u"], "track": ["t"], "played_at": [NOON]}), tmp_path / "log.parquet")
    with pytest.raises(UserError, match=r"log.parquet: line 1: no column 'track_id'.*Did you mean 'track'\?"):
        list(read(tmp_path / "log.parquet", SourceConfig()))


GARBAGE = bytes(range(256)) * 50


@pytest.mark.parametrize(
    ("name", "data", "config"),
    [
        ("empty.csv", b"", {}),
        ("empty.csv.gz", b"", {}),
        ("empty.parquet", b"", {}),
        ("empty.jodie", b"", {"reader": "jodie", "time_unit": "s"}),
        ("garbage.csv", GARBAGE, {}),
        ("garbage.csv.gz", GARBAGE, {}),
        ("garbage.parquet", GARBAGE, {}),
        ("garbage.jodie", GARBAGE, {"reader": "jodie", "time_unit": "s"}),
        ("short.jodie", (JODIE + "1,2,3\n").encode(), {"reader": "jodie", "time_unit": "s"}),
        ("cut.csv.gz", gzip.compress(HEADER.encode() + b"u,t,2026-01-31\n" * 9, mtime=0)[:-9], {}),
        ("cut.parquet", b"PAR1" + GARBAGE + b"PAR1", {}),
        ("long.csv", b"x" * 300_000, {}),
        ("twice.csv", b"user_id,user_id,track_id,played_at\nu,v,t,2026-01-31\n", {}),
        ("delimiter.csv", HEADER.encode(), {"delimiter": "||"}),
        ("delimiter.csv", HEADER.encode(), {"delimiter": ""}),
    ],
)
def test_what_is_no_log_is_refused_by_name(tmp_path: Path, name: str, data: bytes, config: dict[str, str]) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        list(read(path, SourceConfig(**config)))
    assert name in str(error.value) or "source.delimiter" in str(error.value)
    assert len(str(error.value)) < 1000 and str(error.value).isprintable()


BINARY = bytes(range(1, 256)) * 2
UTF16 = f"{HEADER}u,t,{NOON}\n".encode("utf-16")


@pytest.mark.parametrize("reader", sorted(READERS))
def test_an_empty_file_is_called_empty(tmp_path: Path, reader: str) -> None:
    (tmp_path / "log").touch()
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"", mtime=0))
    config = SourceConfig(reader=reader, user_id="me")
    with pytest.raises(UserError, match="log: the file is empty"):
        list(read(tmp_path / "log", config))
    if reader == "listenbrainz":  # no lines are no fault: a month without listens
        assert [len(chunk.rows) for chunk in read(tmp_path / "log.gz", config)] == [0]
    else:
        says = "not readable as Parquet" if reader in PARQUET else "the file is empty"
        with pytest.raises(UserError, match=rf"log\.gz: {says}"):
            list(read(tmp_path / "log.gz", config))


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("data", [BINARY, UTF16, b"PAR1" + b"\0" * 9], ids=["binary", "utf-16", "parquet"])
def test_a_binary_file_is_called_binary(tmp_path: Path, reader: str, data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    says = "not readable as Parquet" if reader in PARQUET else "a binary file, or text in UTF-16"
    with pytest.raises(UserError, match=f"log: {says}"):
        list(read(tmp_path / "log", SourceConfig(reader=reader, user_id="me")))


def test_a_few_odd_bytes_make_no_binary_file(tmp_path: Path) -> None:
    rows = ["u,a\0\1\2,x", "u,b\0\0\0\0,x", "u,c\1,x", "u\x07\x1b,d,x", f"u,e,{NOON}"]
    events, _ = lines_of(tmp_path, HEADER + "\n".join(rows))
    assert [(line, track) for line, _, track in events] == [(6, "e")]


def test_garbage_far_below_a_header_is_rejected_row_by_row(tmp_path: Path) -> None:
    events, rejects = lines_of(tmp_path, (HEADER + f"u,t,{NOON}\n" * 400).encode() + GARBAGE)
    assert len(events) == 400 and len(rejects) > 50


def test_nested_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user_id": [["u"]], "track_id": ["t"], "played_at": [NOON_AT]}), path)
    with pytest.raises(UserError, match="column 'user_id' holds list"):
        list(read(path, SourceConfig()))


def test_files_of_a_folder_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv", ".hidden", "_SUCCESS", ".git/d.csv", "_temporary/e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in files_of(SourceConfig(path=str(tmp_path)))]
    assert names == ["a.csv", "b.csv", "sub/c.csv"]


@pytest.mark.parametrize("path", ["", "missing", "missing.csv"])
def test_a_missing_log_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match=path or r"source\.path"):
        files_of(SourceConfig(path=str(tmp_path / path) if path else ""))


def test_an_unknown_reader_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'jody'.*Did you mean 'jodie'\?"):
        read(tmp_path, SourceConfig(reader="jody"))
