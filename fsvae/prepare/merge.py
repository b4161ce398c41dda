"""Merging new events into those of a day, and their metadata of tracks into the known one."""

from __future__ import annotations

import polars as pl

from fsvae.prepare.buckets import buckets_of
from fsvae.schema import LAKE_EVENTS, TRACKS

_FOLD_ROWS = 2_000_000
"""Number of rows whose metadata of tracks is folded into the known one before more are read."""
_SIDE_FIELDS = [name for name in TRACKS.names if name != "track_id"]


class Tracks:
    """Metadata of tracks: the latest known value of each field."""

    def __init__(self, known: pl.DataFrame) -> None:
        """Start with the lake's tracks, sorted by id."""
        self._known = known.select(TRACKS.names)
        self._new: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows with a track id and any metadata of the track."""
        fields = [name for name in TRACKS.names if name in rows.columns]
        self._new.append(rows.select(fields).unique(keep="last", maintain_order=True))
        self._rows += len(self._new[-1])
        if self._rows > _FOLD_ROWS:
            self.known()

    def known(self) -> pl.DataFrame:
        """Return one row a track, sorted by id."""
        if self._rows:
            rows = pl.concat([self._known, *self._new], how="diagonal")
            latest = rows.group_by("track_id").agg(pl.col(_SIDE_FIELDS).drop_nulls().last())
            self._known = latest.sort("track_id").select(TRACKS.names)
            self._new.clear()
            self._rows = 0
        return self._known


def merge_day(old: pl.DataFrame | None, new: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Merge new events of a day, in order of their source, after the old ones; return all and the number added.

    The order is (bucket, user, played_at, arrival); of rows with equal (user, track, played_at, kind) the first stays.
    """
    fields = [name for name in LAKE_EVENTS.names if name != "bucket"]
    both = new.select(fields) if old is None else pl.concat([old.select(fields), new.select(fields)])
    # Sorting numbers is several times faster than sorting the ids themselves.
    users = both["user_id"].unique()
    people = pl.DataFrame([users, buckets_of(users)]).sort("bucket", "user_id").with_row_index("person")
    keys = both.select("user_id", "track_id", "played_at", "kind").join(
        people, on="user_id", how="left", maintain_order="left"
    )
    keys = keys.drop("user_id").with_row_index("row").sort("person", "played_at", maintain_order=True)
    at_once = (keys["person"] == keys["person"].shift()) & (keys["played_at"] == keys["played_at"].shift())
    if at_once.any():
        keys = keys.unique(["person", "track_id", "played_at", "kind"], keep="first", maintain_order=True)
    merged = both[keys["row"]].with_columns(keys["bucket"]).select(LAKE_EVENTS.names)
    return merged, len(merged) - (0 if old is None else len(old))


def with_artists(events: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """Return events with missing artists filled from the known metadata of tracks."""
    known = tracks.select("track_id", pl.col("artist_id").alias("known_artist")).drop_nulls()
    if known.is_empty() or not events["artist_id"].has_nulls():
        return events
    joined = events.join(known, on="track_id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("artist_id", "known_artist").alias("artist_id")).drop("known_artist")
