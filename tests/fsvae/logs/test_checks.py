"""Row checks: every reason for a reject with its line and field, and what a time may look like."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fsvae.errors import UserError
from fsvae.logs.checks import check_rows
from fsvae.logs.source import Chunk, Malformed
from fsvae.logs.source_config import SourceConfig
from fsvae.schema import RAW_EVENTS

NOON = "2026-01-31T12:00:00Z"
NOON_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
GOOD = {"user_id": "u", "track_id": "t", "played_at": NOON, "kind": "listen", "ms_played": "1", "duration_ms": "2"}
PATH = Path("log.csv")
NO_TIME = "not a time; source.time_unit says how times are written"
KINDS = "listen, skip, like, unlike, save, dislike, undislike"
OUTSIDE = "not between 1970 and 2100; source.time_unit says how times are written"


def as_bytes(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the CSV reader gives them: undecoded, from line 2 on."""
    columns = {
        name: pl.Series([v.encode() if isinstance(v := row[name], str) else v for row in rows], dtype=pl.Binary)
        for name in rows[0]
    }
    return pl.DataFrame(columns).with_columns(pl.Series("line", range(2, 2 + len(rows)), dtype=pl.Int64))


def check(rows: pl.DataFrame, config: SourceConfig | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    return check_rows(Chunk(rows), PATH, config or SourceConfig())


def times(values: list[Any], config: SourceConfig | None = None) -> list[Any]:
    """What becomes of the values of played_at: the time that was taken, or the reason of the reject."""
    if any(isinstance(value, str) for value in values):
        rows = as_bytes([GOOD | {"played_at": value} for value in values])
    else:
        frame = {"user_id": ["u"] * len(values), "track_id": ["t"] * len(values), "played_at": values}
        rows = pl.DataFrame(frame).with_columns(pl.Series("line", range(2, 2 + len(values)), dtype=pl.Int64))
    events, rejects = check(rows, config)
    found = dict(events.select("line", "played_at").iter_rows()) | dict(rejects.select("line", "reason").iter_rows())
    assert len(events) + len(rejects) == len(values)
    return [found[line] for line in range(2, 2 + len(values))]


@pytest.mark.parametrize(
    ("fault", "field", "reason"),
    [
        ({"user_id": None}, "user_id", "missing"),
        ({"user_id": "  "}, "user_id", "missing"),
        ({"track_id": None}, "track_id", "missing"),
        ({"user_id": "ü" * 257}, "user_id", "longer than 256 characters"),
        ({"track_id": "x" * 257}, "track_id", "longer than 256 characters"),
        ({"user_id": b"a\xff"}, "user_id", "not valid UTF-8 text"),
        ({"track_id": b"\xc3"}, "track_id", "not valid UTF-8 text"),
        ({"kind": b"\xff"}, "kind", "not valid UTF-8 text"),
        ({"played_at": None}, "played_at", "missing"),
        ({"played_at": b"\xff"}, "played_at", NO_TIME),
        ({"played_at": "yesterday"}, "played_at", NO_TIME),
        ({"played_at": "1969-12-31T23:59:59.999999Z"}, "played_at", OUTSIDE),
        ({"played_at": "2100-01-01T00:00:00Z"}, "played_at", OUTSIDE),
        ({"kind": "Listen"}, "kind", f"not one of {KINDS}; source.kinds says which"),
        ({"ms_played": "-1"}, "ms_played", "negative or longer than 24 days"),
        ({"ms_played": "2147483648"}, "ms_played", "negative or longer than 24 days"),
        ({"ms_played": "nan"}, "ms_played", "negative or longer than 24 days"),
        ({"ms_played": "3 s"}, "ms_played", "not a number of milliseconds"),
        ({"duration_ms": b"\xff"}, "duration_ms", "not a number of milliseconds"),
        ({"duration_ms": "-0.5"}, "duration_ms", "negative or longer than 24 days"),
    ],
)
def test_each_fault_is_rejected_with_its_line_and_field(fault: dict[str, Any], field: str, reason: str) -> None:
    events, rejects = check(as_bytes([GOOD, GOOD | fault, GOOD | {"user_id": "v"}]))
    assert events.select("line", "user_id").rows() == [(2, "u"), (4, "v")]
    assert rejects.select("source", "line", "field", "reason").rows() == [("log.csv", 3, field, reason)]


@pytest.mark.parametrize("word", ["NULL", "null", "None", "nan", "NaN", "NA", "<NA>", r"\N", " NULL "])
def test_words_for_no_value_are_no_ids(word: str) -> None:
    rows = as_bytes([GOOD | {"user_id": word}, GOOD | {"track_id": word}, GOOD | {"user_id": f"{word}A"}])
    events, rejects = check(rows)
    assert events["user_id"].to_list() == [f"{word}A"]
    assert rejects.select("line", "field", "reason").rows() == [(2, "user_id", "missing"), (3, "track_id", "missing")]
    assert json.loads(rejects["row"][0])["user_id"] == word
    numbers = pl.DataFrame({"user_id": [1.5, float("nan")], "track_id": 1, "played_at": NOON_AT, "line": [1, 2]})
    assert check(numbers)[1].select("line", "field", "reason").rows() == [(2, "user_id", "missing")]


def test_words_of_the_log_for_its_kinds() -> None:
    words = ["play", "thumbs_up", "listen", "skip", "Play", None]
    config = SourceConfig(kinds={"play": "listen", "thumbs_up": "like", "skip": "dislike"})
    events, rejects = check(as_bytes([GOOD | {"kind": word} for word in words]), config)
    assert events["kind"].to_list() == ["listen", "like", "listen", "dislike", "listen"]
    assert [json.loads(row)["kind"] for row in rejects["row"]] == ["Play"]


def test_the_longest_id_that_is_taken() -> None:
    events, rejects = check(as_bytes([GOOD | {"user_id": "ü" * 256}]))
    assert (len(events), len(rejects)) == (1, 0)


def test_the_first_fault_wins() -> None:
    faults: dict[str, Any] = {"user_id": None, "played_at": "x", "kind": "x", "ms_played": "x", "duration_ms": "-1"}
    rows = []
    for name in faults:
        rows.append(GOOD | faults)
        faults = faults | {name: GOOD[name]}
    _, rejects = check(as_bytes(rows))
    assert rejects["field"].to_list() == ["user_id", "played_at", "kind", "ms_played", "duration_ms"]
    _, rejects = check(as_bytes([GOOD | {"user_id": None, "track_id": b"\xff"}]))
    assert rejects.select("field", "reason").rows() == [("track_id", "not valid UTF-8 text")]


def test_a_reject_keeps_the_row_as_it_was() -> None:
    _, rejects = check(as_bytes([GOOD | {"user_id": b"caf\xe9", "ms_played": None}]))
    assert json.loads(rejects["row"][0]) == GOOD | {"user_id": "caf\\xe9", "ms_played": None}


def test_malformed_rows_are_rejects() -> None:
    chunk = Chunk(pl.DataFrame(schema={"line": pl.Int64}), [Malformed(7, "a,b")])
    events, rejects = check_rows(chunk, PATH, SourceConfig())
    assert len(events) == 0 and events.columns == [*RAW_EVENTS.names, "line"]
    assert rejects.rows() == [("log.csv", 7, "row", "wrong number of fields", '"a,b"')]


def test_what_is_not_told_is_null_and_a_listen() -> None:
    events, _ = check(as_bytes([{"user_id": "u", "track_id": "t", "played_at": NOON}]))
    expected = dict.fromkeys(RAW_EVENTS.names) | {"user_id": "u", "track_id": "t", "played_at": NOON_AT}
    assert events.row(0, named=True) == expected | {"kind": "listen", "line": 2}
    assert events.schema["played_at"] == pl.Datetime("us", "UTC") and events.schema["ms_played"] == pl.Int32


@pytest.mark.parametrize("first", ["2026-01-31", "2026-01-31 11:00:00", NOON, "rubbish", "31/01/2026", "2026-02-30"])
def test_iso_times_are_read_one_by_one_whatever_the_first_looks_like(first: str) -> None:
    values = {
        NOON: NOON_AT,
        "2026-01-31T12:00:00": NOON_AT,
        "2026-01-31 12:00": NOON_AT,
        "2026-01-31T13:30:00+01:30": NOON_AT,
        "2026-01-31T04:30:00-0730": NOON_AT,
        " 2026-01-31 12:00:00 UTC ": NOON_AT,
        "2026-01-31T12:00:00.5Z": NOON_AT + timedelta(seconds=0.5),
        "2026-01-31 12:00:00.000001": NOON_AT + timedelta(microseconds=1),
        "2026-01-31T12:00:00.123456789Z": NOON_AT + timedelta(microseconds=123456),
        "2026-01-31T12:00:00.000001+00:00": NOON_AT + timedelta(microseconds=1),
        "2026-01-31T12:00:00.500-00:30": NOON_AT + timedelta(minutes=30, seconds=0.5),
        "2026-01-31": datetime(2026, 1, 31, tzinfo=UTC),
        "01/02/2026 10:00": NO_TIME,
        "2026-02-30T12:00:00Z": NO_TIME,
        "2026-01-31T25:00:00Z": NO_TIME,
        "2026-01-31T12:00:60Z": NO_TIME,
        "2026-01-31T12:00:00ZZ": NO_TIME,
        "1769860800": NO_TIME,
        "rubbish": NO_TIME,
    }
    assert times([first, *values])[1:] == list(values.values())


@pytest.mark.parametrize(("unit", "step"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_numeric_times(unit: str, step: int) -> None:
    config = SourceConfig(time_unit=unit)
    noon = 1769860800 * step
    assert times([str(noon), f"{noon}.0", "x", "inf", "-1", NOON], config) == [
        NOON_AT,
        NOON_AT,
        NO_TIME,
        NO_TIME,
        OUTSIDE,
        NO_TIME,
    ]
    assert times([noon, 4102444800 * step - 1, 4102444800 * step], config)[::2] == [NOON_AT, OUTSIDE]
    assert times([noon + step / 2], config) == [NOON_AT + timedelta(seconds=0.5)]
    later = SourceConfig(time_unit=unit, origin="2026-01-31")
    assert times([str(12 * 3600 * step)], later) == [NOON_AT]


def test_numbers_that_would_overflow_are_no_times() -> None:
    wraps = 18446744073710  # times 1 000 000 and modulo 2^64 it is a time in 1970
    seconds = SourceConfig(time_unit="s")
    assert times([wraps, -wraps], seconds) == [OUTSIDE, OUTSIDE]
    assert times([str(wraps), "9" * 30], seconds) == [OUTSIDE, NO_TIME]
    far = pl.DataFrame({"user_id": "u", "track_id": "t", "played_at": [18446744073709556, 2**62, 0]}).with_columns(
        pl.col("played_at").cast(pl.Datetime("ms")), line=pl.lit(1, dtype=pl.Int64)
    )
    events, rejects = check(far)
    assert events["played_at"].to_list() == [datetime(1970, 1, 1, tzinfo=UTC)]
    assert [json.loads(row)["played_at"] for row in rejects["row"]] == ["18446744073709556", str(2**62)]


def test_typed_times_with_and_without_a_zone() -> None:
    berlin = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))
    assert times([berlin]) == [NOON_AT]
    assert times([datetime(2026, 1, 31, 12)]) == [NOON_AT]
    assert times([date(2026, 1, 31)]) == [datetime(2026, 1, 31, tzinfo=UTC)]
    assert times([None, datetime(1969, 1, 1), datetime(2100, 1, 1)]) == ["missing", OUTSIDE, OUTSIDE]
    nanoseconds = pl.DataFrame({"user_id": ["u"], "track_id": ["t"], "line": [1]}).with_columns(
        played_at=pl.lit(1769860800_123456789).cast(pl.Datetime("ns", "Europe/Berlin"))
    )
    assert check(nanoseconds)[0]["played_at"].to_list() == [NOON_AT + timedelta(microseconds=123456)]


def test_ids_may_be_numbers() -> None:
    rows = pl.DataFrame({"user_id": [7], "track_id": [8], "played_at": [NOON_AT], "line": [1], "ms_played": [1.9]})
    events, rejects = check(rows)
    assert events.select("user_id", "track_id", "ms_played").rows() == [("7", "8", 1)] and len(rejects) == 0


@pytest.mark.parametrize(
    ("config", "says"),
    [(SourceConfig(time_unit="hours"), "'hours'"), (SourceConfig(time_unit="s", origin="today"), "'today'")],
)
def test_an_unknown_unit_or_origin_is_refused(config: SourceConfig, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(as_bytes([GOOD]), config)
