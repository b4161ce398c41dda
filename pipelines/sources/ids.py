"""Ids for tracks that have none of their own."""

from __future__ import annotations

import polars as pl
import xxhash

_BETWEEN = b"\x1f"


def named_track_ids(artist: pl.Series, title: pl.Series) -> pl.Series:
    """Return an id made of artist and title, as they are written but for blanks around them: ``name:`` + xxh3-128.

    It is null where either is missing. Both columns are text or UTF-8 bytes; equal names have equal ids in all logs.
    """
    names = pl.DataFrame({"artist": artist.cast(pl.Binary), "title": title.cast(pl.Binary)})
    unique = names.unique()
    ids = pl.Series("id", [_id(*pair) for pair in unique.iter_rows()], dtype=pl.String)
    return names.join(unique.with_columns(ids), on=names.columns, how="left", nulls_equal=True, maintain_order="left")[
        "id"
    ]


def _id(artist: bytes | None, title: bytes | None) -> str | None:
    artist, title = (artist or b"").strip(), (title or b"").strip()
    return f"name:{xxhash.xxh3_128_hexdigest(artist + _BETWEEN + title)}" if artist and title else None
