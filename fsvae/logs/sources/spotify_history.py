"""Spotify's extended streaming history, ``Streaming_History_Audio_*.json``, which every user can request.

Source: support.spotify.com/article/understanding-my-data and the PDF that comes with the files. A JSON array of plays
of one account; the file does not name it: give ``source.user_id``. ``ts`` is when the play *ended* (ISO, UTC):
``played_at`` is ``ms_played`` before that. ``spotify_track_uri`` is the track's id, as in the Million Playlist Dataset;
the ``master_metadata_*`` are title, artist and album. A play that was ``skipped`` is a skip; where that is null, as in
older histories, one that ended with the forward button (``reason_end``: fwdbtn). Lines are the array's elements. The
ZIP that Spotify sends, ``my_spotify_data.zip``, can be read as it is.

Podcast episodes and audiobooks are not listens and are left out: they have other uris than track uris.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from fsvae.errors import UserError
from fsvae.logs.formats.json import elements_of
from fsvae.logs.formats.json_rows import rows_of
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.timestamps import iso_us

FILES = ("Streaming_History_Audio_*.json*", "endsong_*.json*")
_PATHS = {
    "track_id": "spotify_track_uri",
    "played_at": "ts",
    "ms_played": "ms_played",
    "title": "master_metadata_track_name",
    "artist_name": "master_metadata_album_artist_name",
    "album": "master_metadata_album_album_name",
    "skipped": "skipped",
    "reason_end": "reason_end",
    "episode": "spotify_episode_uri",
    "audiobook": "audiobook_uri",
    "chapter": "audiobook_chapter_uri",
}


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the plays of tracks of a file, plain or compressed; see `fsvae.schema.RAW_EVENTS` for the fields.

    Raises:
        UserError: source.user_id is not given, or the file is not a JSON array or cannot be read.
    """
    if not config.user_id:
        raise UserError(f"{path}: a Spotify history does not say whose it is. Give it a name: source.user_id=NAME.")
    for elements in elements_of(path):
        rows, malformed = rows_of(elements, _PATHS)
        is_other = pl.any_horizontal(pl.col("episode", "audiobook", "chapter").is_not_null())
        rows = rows.filter(pl.col("track_id").is_not_null() | ~is_other)
        ms = rows["ms_played"].cast(pl.Float64, strict=False)
        ms = ms.set(~ms.is_between(0, 2**31 - 1), 0).fill_null(0).cast(pl.Int64)
        began = (iso_us(rows["played_at"]) - ms * 1_000).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        forward = pl.col("skipped").is_null() & (pl.col("reason_end") == "fwdbtn")
        yield Chunk(
            rows.select(
                "line",
                *(field for field in _PATHS if field in ("track_id", "ms_played", "title", "artist_name", "album")),
                pl.lit(config.user_id).alias("user_id"),
                began.fill_null(rows["played_at"]).alias("played_at"),  # the row checks report the fault
                pl.when(pl.col("skipped").is_in(["true", "1"]) | forward).then(pl.lit("skip")).alias("kind"),
            ),
            malformed,
            time_unit="iso",
        )
