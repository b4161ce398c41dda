"""Ids for tracks without one."""

from __future__ import annotations

import polars as pl
import xxhash

_BETWEEN = b"\x1f"


def with_named_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in which a null track_id is replaced by ``name:`` + the xxh3-128 of artist_name and title.

    The names are taken as written, without surrounding blanks; where either is missing, so is the id. All three columns
    are text or UTF-8 bytes; equal names have equal ids in all logs.
    """
    without = rows["track_id"].is_null()
    names = rows.filter(without).select(pl.col("artist_name", "title").cast(pl.Binary))
    ids: dict[tuple[bytes | None, bytes | None], str | None] = {}
    named = [ids[pair] if pair in ids else ids.setdefault(pair, _id(*pair)) for pair in names.iter_rows()]
    values = pl.Series(named, dtype=pl.String).cast(rows.schema["track_id"])
    return rows.with_columns(rows["track_id"].scatter(without.arg_true(), values))


def _id(artist: bytes | None, title: bytes | None) -> str | None:
    artist, title = (artist or b"").strip(), (title or b"").strip()
    return f"name:{xxhash.xxh3_128_hexdigest(artist + _BETWEEN + title)}" if artist and title else None
