"""Spotify's Million Playlist Dataset, slices ``mpd.slice.*.json`` of 1 000 playlists each.

Source: the README at recsys-challenge.spotify.com (Chen et al., RecSys 2018; aicrowd.com, Spotify Million Playlist
Dataset Challenge). ``{"info": {...}, "playlists": [{"pid", "name", ..., "tracks": [{"pos", "track_uri", "track_name",
"artist_uri", "artist_name", "album_uri", "album_name", "duration_ms"}]}]}``. The rows are playlists, from which track
vectors can be learned, not events. ``pos`` counts from 0. Lines are the playlists of the slice, counted from 1. The
data set's ZIP can be read as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsvae.logs.formats.json import elements_of
from fsvae.logs.formats.json_rows import rows_of
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

FILES = ("mpd.slice.*.json*",)
_PATHS = {
    "playlist_id": "pid",
    "position": "tracks.pos",
    "track_id": "tracks.track_uri",
    "title": "tracks.track_name",
    "artist_id": "tracks.artist_uri",
    "artist_name": "tracks.artist_name",
    "album": "tracks.album_name",
    "duration_ms": "tracks.duration_ms",
}


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the tracks of the playlists of a slice, plain or compressed (`fsvae.schema.RAW_PLAYLISTS`).

    Raises:
        UserError: the file is not a slice of the data set, or cannot be read.
    """
    for playlists in elements_of(path, key="playlists"):
        rows, malformed = rows_of(playlists, _PATHS, each="tracks")
        yield Chunk(rows, malformed, table="playlists")
