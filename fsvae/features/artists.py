"""Artists of tracks as codes."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

ARTIST = pl.struct("artist_id", pl.when(pl.col("artist_id").is_null()).then("artist_name").alias("artist_name"))
"""The artist of a row with the columns artist_id and artist_name: the id, else the name."""
KNOWN_ARTIST = pl.any_horizontal(pl.col("artist_id", "artist_name").is_not_null())
"""Whether a row tells the artist."""


def artist_codes(tracks: pl.DataFrame) -> NDArray[np.int32]:
    """Return the artist of each track, numbered from 0, [T]; -1 where it is not known."""
    code = pl.when(KNOWN_ARTIST).then(ARTIST.rank("dense").cast(pl.Int64) - 1).otherwise(-1)
    return tracks.select(code.cast(pl.Int32).alias("artist"))["artist"].to_numpy()


def artist_id_codes(tracks: pl.DataFrame) -> NDArray[np.int32]:
    """Return the artist of each track as events name it, by its id alone, numbered from 0, [T]; -1 without an id."""
    ids = tracks["artist_id"].cast(pl.String).replace("", None)
    return np.asarray(ids.rank("dense").cast(pl.Int32).fill_null(0).to_numpy() - 1)


def artists_of(artist_T: NDArray[np.int32], track: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the artists of some tracks: -1 where it is not known, or the track is none of [0, T)."""
    inside = (track >= 0) & (track < len(artist_T))
    return np.append(artist_T, -1)[np.where(inside, track, len(artist_T))].astype(np.int64)
