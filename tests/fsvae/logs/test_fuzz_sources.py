"""Malformed files, to every source there is: rows, rejects, or an error that names the file; never a traceback."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from log_samples import JODIE, SAMPLES, TABLE, compressed, history, listen, parquet, play, tar, zipped

from fsvae.errors import UserError
from fsvae.logs.checks import check_rows
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import READERS, read
from fsvae.schema import RAW_EVENTS, RAW_PLAYLISTS, REJECTS, TRACK_EMBEDDINGS

COLUMNS = {"events": RAW_EVENTS, "playlists": RAW_PLAYLISTS, "embeddings": TRACK_EMBEDDINGS}
SAMPLE_FILES = [(name, make()) for files in SAMPLES.values() for name, make in files.items()]
FUZZ = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
every_reader = pytest.mark.parametrize("reader", sorted(READERS))


def survives(reader: str, name: str, data: bytes) -> tuple[int, int]:
    """Read a file through the checks; return the numbers of rows and rejects, after looking at what they say."""
    config = SourceConfig(reader=reader, user_id="me", time_unit="s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        taken = rejected = 0
        try:
            for chunk in read(path, config):
                rows, rejects = check_rows(chunk, path, config)
                assert rows.columns == [*COLUMNS[chunk.table].names, "line"] and rejects.columns == REJECTS.names
                assert len(rows) + len(rejects) == len(chunk.rows) + len(chunk.malformed)
                for source, line, field, reason, row in rejects.rows():
                    assert source.startswith(str(path)) and line >= 1 and field and reason and json.loads(row)
                taken, rejected = taken + len(rows), rejected + len(rejects)
        except UserError as error:
            assert str(path) in str(error) and len(str(error)) < 2_000
            assert re.search(r"line|row|element|column|Parquet|archive|array|empty|binary", str(error))
        return taken, rejected


@every_reader
def test_every_sample_is_read(reader: str) -> None:
    for name, make in SAMPLES.get(reader, {}).items():
        assert survives(reader, name, make())[0] > 0


@every_reader
@given(data=st.data())
@FUZZ
def test_damaged_samples(reader: str, data: st.DataObject) -> None:
    """Samples of this source and of the others: cut off, with bytes flipped, repeated or put in."""
    own = [(name, make()) for name, make in SAMPLES.get(reader, {}).items()]
    name, content = data.draw(st.sampled_from(own * 3 + SAMPLE_FILES))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(["cut", "flip", "insert", "repeat"])):
            case "cut":
                del damaged[at:]
            case "flip" if at < len(damaged):
                damaged[at] ^= data.draw(st.integers(1, 255))
            case "insert":
                damaged[at:at] = data.draw(st.binary(max_size=8))
            case _:
                damaged[at:at] = damaged[at : at + data.draw(st.integers(0, 200))]
    survives(reader, name, bytes(damaged))


@every_reader
@given(st.sampled_from(sorted({name for name, _ in SAMPLE_FILES})), st.binary(max_size=300))
@FUZZ
def test_random_bytes(reader: str, name: str, content: bytes) -> None:
    survives(reader, name, content)
    for codec, suffix in [("gzip", ".gz"), ("zstd", ".zst")]:
        survives(reader, name.split(".")[0] + suffix, compressed(content, codec))


SCALARS: list[Any] = [None, True, False, 0, -1, 1.5, 9 * 10**15, 2**63, -(2**70), 10**400, 1e308]
TEXTS = ["", "x", "0000-01-01", "9999-12-31T23:59:59Z", "[x]", "\x00", "\ud800", "9" * 400]
JSON = st.recursive(
    st.sampled_from([*SCALARS, *TEXTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2),
    max_leaves=4,
)
DEEP = b"[" * 100_000
RAW = st.sampled_from([b"NaN", b"1e999", b"-Infinity", b"tru", b'"\xff"', b'"', b"{", b"}", b"]", b'\\"', DEEP])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def with_mark(value: Any, place: tuple[Any, ...], mark: str) -> Any:
    if not place:
        return mark
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = with_mark(value[place[0]], place[1:], mark)
    return changed


PLAYLIST = {"pid": 1, "tracks": [{"pos": 0, "track_uri": "a", "duration_ms": 1}]}
DOCUMENTS = [
    ("1.listens", listen(), b"%s\n", b"\n"),
    ("Streaming_History_Audio_1.json", play(), b"[%s]", b","),
    ("mpd.slice.0-9.json", PLAYLIST, b'{"playlists": [%s]}', b","),
]
"""Name of a file, one of its objects, what stands around all of them, and what between."""


def file_with(document: tuple[str, Any, bytes, bytes], place: tuple[Any, ...], values: list[bytes]) -> bytes:
    """Return a file that holds the object once for each value, with the value in that place."""
    _, value, around, between = document
    text = json.dumps(with_mark(value, place, "HERE")).encode()
    return around % between.join(text.replace(b'"HERE"', instead) for instead in values)


@every_reader
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document[0])
def test_every_odd_value_in_every_place_of_json(reader: str, document: tuple[str, Any, bytes, bytes]) -> None:
    odd = [json.dumps(value).encode() for value in [*SCALARS, *TEXTS, {}, [], {"a": 1}, [1], [[None]]]]
    for place in places(document[1]):
        survives(reader, document[0], file_with(document, place, odd))


@every_reader
@given(st.sampled_from(DOCUMENTS), st.data(), JSON.map(lambda value: json.dumps(value).encode()) | RAW)
@FUZZ
def test_anything_in_place_of_a_value_in_json(
    reader: str, document: tuple[str, Any, bytes, bytes], data: st.DataObject, instead: bytes
) -> None:
    place = data.draw(st.sampled_from(places(document[1])))
    survives(reader, document[0], file_with(document, place, [instead, b"1", instead]))


ARRAYS = st.sampled_from(
    [
        pa.array([None, None]),
        pa.array(["1", "x"]),
        pa.array([b"1", b"\xff"]),
        pa.array([1.5, float("nan")]),
        pa.array([2**62, -1]),
        pa.array([2**64 - 1, 0], pa.uint64()),
        pa.array([True, False]),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([10**30, 1], pa.decimal128(38, 2)),
        pa.array([10**50, 1], pa.decimal256(60, 2)),
        pa.array([0, 2**62], pa.timestamp("us", "UTC")),
        pa.array([0, 10**6], pa.date32()),
        pa.array([0, 1], pa.time64("ns")),
        pa.array([0, 2**62], pa.duration("us")),
        pa.array([1.0, 2.0], pa.float16()),
        pa.array([[1], None]),
        pa.array([[1, 2], [3]]),
        pa.array([["a"], []]),
        pa.array([[[1]], [[2]]]),
        pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float32(), 2)),
        pa.array([{"a": 1}, None]),
        pa.array([[(1, 2)], []], pa.map_(pa.int8(), pa.int8())),
        pa.array([b"12", b"34"], pa.binary(2)),
    ]
)
NAMES = sorted(
    {"uid", "item_id", "timestamp", "is_organic", "played_ratio_pct", "track_length_seconds", "event_type", "embed"}
    | {"session_id", "position", "track_id", "user_id", "played_at", "kind", "ms_played", "title"}
)


@every_reader
@given(st.data())
@FUZZ
@example(None)
def test_columns_of_any_type_in_parquet(reader: str, data: st.DataObject | None) -> None:
    if data is None:
        survives(reader, "likes.parquet", parquet({}))
        return
    columns = {name: data.draw(ARRAYS) for name in NAMES if data.draw(st.integers(0, 9)) > 0}
    if data.draw(st.booleans()):
        columns.pop("embed", None)
    survives(reader, "likes.parquet", parquet(columns))


def test_archives_that_are_none() -> None:
    whole = tar({"dump/COPYING": b"x", "dump/listens/1.listens": b"no json\n" * 2_000})
    for cut in (0, 100, 512, 600, 1_024, 1_536, 2_000, len(whole)):
        survives("listenbrainz", "dump.tar", whole[:cut])
        survives("listenbrainz", "dump.tar.zst", compressed(whole[:cut], "zstd"))
        survives("listenbrainz", "dump.tar.xz", whole[:cut])


ZIPS = [
    ("table", zipped({"1.csv": TABLE, "2.csv": TABLE})),
    ("jodie", zipped({"lastfm.csv": JODIE * 20}, zipfile.ZIP_STORED)),
    ("spotify_history", zipped({"a/Streaming_History_Audio_1.json": history(play())})),
]
NUMBERS = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]).map(lambda byte: bytes([byte])) | st.binary(min_size=1, max_size=8)


@given(st.sampled_from(ZIPS), st.data())
@settings(FUZZ, max_examples=150)
def test_damaged_zips(sample: tuple[str, bytes], data: st.DataObject) -> None:
    """Above all in the headers of members and in the directory at the end, which make up most of these bytes."""
    reader, content = sample
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        instead = data.draw(NUMBERS)
        damaged[at : at + data.draw(st.sampled_from([0, len(instead)]))] = instead
    survives(reader, "log.zip", bytes(damaged))


@given(st.sampled_from(ZIPS), st.data())
@FUZZ
def test_any_bytes_in_a_member_of_a_zip(sample: tuple[str, bytes], data: st.DataObject) -> None:
    reader, _ = sample
    members = st.dictionaries(st.sampled_from(["1.csv", "endsong_1.json", "1.json.gz", "a/.b", "/x"]), st.binary())
    survives(reader, "log.zip", zipped(data.draw(members), data.draw(st.sampled_from([0, 8, 12, 14]))))
