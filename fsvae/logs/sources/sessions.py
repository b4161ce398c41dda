"""Ordered anonymous sessions without times (Parquet: ``session_id, position, track_id``), as in GCE-GNN's data sets.

Source: the processed #nowplaying, Tmall and Diginetica sessions of Wang et al., SIGIR 2020
(github.com/CCIIPLab/GCE-GNN). One row a listen: sessions in order of time, their rows consecutive and in order of
position.

**The times are invented**: row n of a file, counted from 0, was played n * 30 s after 00:00 UTC of ``source.origin``.
So the order is kept and no two sessions overlap, but hours, weekdays and pauses mean nothing. Every session is a
separate user, named by file, origin and session id. To append one file to another, give the later one a later origin: a
day holds 2 880 rows (1 000 000 rows take 348 days).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from fsvae.logs.formats.csv import columns_of
from fsvae.logs.formats.parquet import parquet_schema, read_parquet
from fsvae.logs.row_json import rows_to_json
from fsvae.logs.source import Chunk, Malformed
from fsvae.logs.source_config import SourceConfig

FILES = ("*.parquet",)
_COLUMNS = ["session_id", "position", "track_id"]
_STEP_S = 30


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of a file; see `fsvae.schema.RAW_EVENTS` for the fields.

    Rows whose position is not larger than that of the row before, in one session, are malformed.

    Raises:
        UserError: a column is missing or of another type, or the file cannot be read.
    """
    columns_of(path, parquet_schema(path).names, {name: name for name in _COLUMNS}, required=_COLUMNS)
    last: pl.DataFrame | None = None
    for rows in read_parquet(path, _COLUMNS):
        rows = rows.with_columns(
            pl.col("session_id").cast(pl.String, strict=False).alias("session"),
            pl.col("position").cast(pl.Float64, strict=False).alias("place"),
        )
        before = pl.concat([last if last is not None else rows.clear(), rows])[["session", "place"]].shift(1)
        before = before.tail(len(rows))
        late = rows["place"] > before["place"]
        wrong = (rows["session"] == before["session"]).fill_null(False) & ~late.fill_null(False)
        last = rows.tail(1)
        bad = rows.filter(wrong)
        yield Chunk(
            rows.filter(~wrong).select(
                "line",
                pl.format("{}:{}:{}", pl.lit(path.stem), pl.lit(config.origin), "session").alias("user_id"),
                "track_id",
                ((pl.col("line") - 1) * _STEP_S).alias("played_at"),
            ),
            [
                Malformed(line, text, "position is not behind that of the row before in its session")
                for line, text in zip(bad["line"], rows_to_json(bad.select(_COLUMNS)), strict=True)
            ],
            time_unit="s",
        )
