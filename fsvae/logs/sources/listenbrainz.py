"""ListenBrainz' listens: ``.listens`` files of JSON lines, also inside the dump's ``.tar.zst`` (or ``.tar.xz``).

Source: listenbrainz.readthedocs.io, "Data Dumps" and "JSON Documentation". One listen a line: ``user_id`` (in older
dumps only ``user_name``), ``timestamp`` or ``listened_at`` (seconds since 1970 UTC), ``recording_msid`` and
``track_metadata`` with ``track_name, artist_name, release_name``, ``additional_info`` (sent by the player) and
``mbid_mapping`` (MusicBrainz' match). The track's id is the first available of: the mapping's recording MBID, the
player's, the MSID, and one made of artist and title (`named_ids.with_named_ids`). A duration sent by the player is used
where it is a number; others do not cause a reject. Of an archive, the members that end with .listens are read; lines
are counted in each.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from fsvae.errors import UserError
from fsvae.logs.formats.json import Objects, lines_of
from fsvae.logs.formats.json_rows import rows_of
from fsvae.logs.formats.streams import READ_ERRORS, open_bytes
from fsvae.logs.named_ids import with_named_ids
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

FILES = ("*.listens", "*.listens.*", "*.tar", "*.tar.*")
_SENT, _MAPPED = "track_metadata.additional_info", "track_metadata.mbid_mapping"
_PATHS = {
    "user_id": "user_id",
    "user_name": "user_name",
    "timestamp": "timestamp",
    "listened_at": "listened_at",
    "title": "track_metadata.track_name",
    "artist_name": "track_metadata.artist_name",
    "album": "track_metadata.release_name",
    "mapped_id": f"{_MAPPED}.recording_mbid",
    "sent_id": f"{_SENT}.recording_mbid",
    "msid": "recording_msid",
    "sent_msid": f"{_SENT}.recording_msid",
    "mapped_artist": f"{_MAPPED}.artist_mbids[0]",
    "sent_artist": f"{_SENT}.artist_mbids[0]",
    "sent_ms": f"{_SENT}.duration_ms",
    "sent_seconds": f"{_SENT}.duration",
}


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the listens of a file or an archive; see `fsvae.schema.RAW_EVENTS` for the fields.

    Raises:
        UserError: the file cannot be read, or the archive holds no listens.
    """
    for member, lines in _lines(path):
        rows, malformed = rows_of(lines, _PATHS)
        yield Chunk(_events(rows), malformed, time_unit="s", member=member)


def _lines(path: Path) -> Iterator[tuple[str, Objects]]:
    try:
        with open_bytes(path) as stream:
            if ".tar" not in path.suffixes:
                yield from (("", lines) for lines in lines_of(stream, str(path)))
                return
            found = False
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".listens"):
                        found = True
                        content = cast(BinaryIO, archive.extractfile(member))
                        yield from ((member.name, lines) for lines in lines_of(content, f"{path}/{member.name}"))
    except READ_ERRORS as error:
        raise UserError(f"{path}: line 1 or after: not readable: {error}") from error
    if not found:
        raise UserError(
            f"{path}: the archive holds no .listens file; the dump of listens is listenbrainz-listens-dump-*."
        )


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    ms = pl.coalesce(_number("sent_ms"), _number("sent_seconds") * 1_000)
    return with_named_ids(
        rows.select(
            "line",
            pl.coalesce("user_id", "user_name").alias("user_id"),
            pl.coalesce("mapped_id", "sent_id", "msid", "sent_msid").alias("track_id"),
            pl.coalesce("timestamp", "listened_at").alias("played_at"),
            "title",
            "artist_name",
            "album",
            pl.coalesce("mapped_artist", "sent_artist").alias("artist_id"),
            pl.when(ms.is_between(1, 2**31 - 1)).then(ms).alias("duration_ms"),
        )
    )


def _number(field: str) -> pl.Expr:
    return pl.col(field).cast(pl.Float64, strict=False)
