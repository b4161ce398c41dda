"""Yambda, listens and feedback of Yandex Music (huggingface.co/datasets/yandex/yambda; arxiv.org/abs/2505.22238).

Parquet files ``listens, likes, unlikes, dislikes, undislikes, multi_event`` in two forms: flat, one event a row, and
sequential, one user a row with lists for everything but the uid. Columns: ``uid, item_id, timestamp`` (seconds from a
day that is not told, in bins of 5 s: they count from ``source.origin``, so weekdays and hours are shifted by an unknown
amount), ``is_organic`` (1: the user's own choice, 0: recommended; becomes the context), for listens
``played_ratio_pct`` (over 100 where parts were heard again) and ``track_length_seconds``; in multi_event also
``event_type``. The other files are known by their names. A listen that ended before half of the track is a skip: the
data set's own evaluation does not count it as listened either. Rows of sequential files are numbered by user.

``embeddings.parquet``, ``item_id, embed, normalized_embed``: audio embeddings; the first of the two is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from fsvae.errors import UserError
from fsvae.logs.formats.csv import columns_of
from fsvae.logs.formats.parquet import BATCH_ROWS, parquet_schema, read_parquet
from fsvae.logs.row_json import rows_to_json
from fsvae.logs.source import Chunk, Malformed
from fsvae.logs.source_config import SourceConfig

FILES = ("*.parquet",)
_REQUIRED = ("uid", "item_id", "timestamp")
_OPTIONAL = ("is_organic", "played_ratio_pct", "track_length_seconds", "event_type")
_KIND_OF_FILE = {f"{kind}s": kind for kind in ("listen", "like", "unlike", "dislike", "undislike")}
_HEARD_PCT = 50
_USERS_AT_ONCE = 64  # in the sequential form, where a user has up to tens of thousands of events
_EMBEDDINGS_AT_ONCE = 1 << 14


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of a file of events (`fsvae.schema.RAW_EVENTS`) or of embeddings (`TRACK_EMBEDDINGS`).

    Raises:
        UserError: the file is not one of these, or cannot be read.
    """
    schema = parquet_schema(path)
    if "embed" in schema.names:
        yield from _embeddings(path, schema)
        return
    wanted = {name: name for name in (*_REQUIRED, *_OPTIONAL)}
    columns = list(columns_of(path, schema.names, wanted, required=_REQUIRED))
    if "event_type" not in columns and path.stem not in _KIND_OF_FILE:
        raise UserError(
            f"{path}: expected a column event_type, or one of the file names {', '.join(_KIND_OF_FILE)}.parquet."
        )
    kind = pl.col("event_type") if "event_type" in columns else pl.lit(_KIND_OF_FILE[path.stem])
    lists = [name for name in columns if name != "uid" and pa.types.is_nested(schema.field(name).type)]
    if not lists:
        for rows in read_parquet(path, columns):
            yield Chunk(_events(rows, kind), time_unit="s")
        return
    for users in read_parquet(path, columns, lists=set(columns) - {"uid"}, batch_rows=_USERS_AT_ONCE):
        lengths = [pl.col(name).list.len() for name in columns if name != "uid"]
        equal = users.select(pl.all_horizontal(length == lengths[0] for length in lengths).fill_null(False)).to_series()
        unequal = users.filter(~equal)
        malformed = [
            Malformed(line, text, "lists of unequal lengths, or none")
            for line, text in zip(unequal["line"], rows_to_json(unequal.drop("line")), strict=True)
        ]
        good = users.filter(equal & (users["timestamp"].list.len() > 0))
        rows = good.explode([name for name in columns if name != "uid"])
        yield Chunk(_events(rows.clear(), kind), malformed, time_unit="s")
        for part in rows.iter_slices(BATCH_ROWS):
            yield Chunk(_events(part, kind), time_unit="s")


def _events(rows: pl.DataFrame, kind: pl.Expr) -> pl.DataFrame:
    """Return RAW_EVENTS of events; invalid values are left to the row checks."""
    absent = [name for name in _OPTIONAL if name not in rows.columns]
    rows = rows.with_columns(
        kind.cast(pl.String, strict=False).alias("kind"),
        *(pl.lit(None, dtype=pl.Float64).alias(name) for name in absent),
    )
    ratio, seconds = (
        pl.col(name).cast(pl.Float64, strict=False) for name in ("played_ratio_pct", "track_length_seconds")
    )
    organic = pl.col("is_organic").cast(pl.Float64, strict=False)
    return rows.select(
        "line",
        pl.col("uid").alias("user_id"),
        pl.col("item_id").alias("track_id"),
        pl.col("timestamp").alias("played_at"),
        pl.when((pl.col("kind") == "listen") & (ratio < _HEARD_PCT))
        .then(pl.lit("skip"))
        .otherwise("kind")
        .alias("kind"),
        (ratio * seconds * 10).alias("ms_played"),
        (seconds * 1_000).alias("duration_ms"),
        pl.when(organic == 1).then(pl.lit("organic")).when(organic == 0).then(pl.lit("recommended")).alias("context"),
    )


def _embeddings(path: Path, schema: pa.Schema) -> Iterator[Chunk]:
    columns_of(path, schema.names, {"track_id": "item_id", "embedding": "embed"}, required=["track_id"])
    dimension = 0
    for rows in read_parquet(path, ["item_id", "embed"], lists=["embed"], batch_rows=_EMBEDDINGS_AT_ONCE):
        rows = rows.rename({"item_id": "track_id", "embed": "embedding"})
        lengths = rows["embedding"].list.len().drop_nulls()
        dimension = dimension or next(iter(lengths.filter(lengths > 0)), 0)
        yield Chunk(rows, table="embeddings", dimension=dimension)
