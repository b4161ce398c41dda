"""The TSV files of session-rec, among them 30Music (github.com/rn5l/session-rec; Ludewig et al., UMUAI 2021).

``UserId SessionId ItemId Time ArtistId``, separated by tabs, with that header and in any order of columns; one listen a
line, Time in seconds since 1970 UTC. The data sets of 30Music (Turrin et al., RecSys 2015), #nowplaying, Art of the Mix
and 8tracks have this format. SessionId is not used: sessions are found by the time between listens. ArtistId may be
missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsvae.logs.formats.csv import columns_of, fields_of, first_lines, read_csv, renamed
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

_COLUMNS = {"user_id": "UserId", "track_id": "ItemId", "played_at": "Time", "artist_id": "ArtistId"}


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of a session-rec file, plain or compressed; see `fsvae.schema.RAW_EVENTS` for the fields.

    Raises:
        UserError: a column other than ArtistId is missing, or the file cannot be read.
    """
    lines = first_lines(path, 1)
    header = fields_of(lines[0] if lines else "", "\t", f"{path}: line 1: ")
    column_of = columns_of(path, header, _COLUMNS, required=[field for field in _COLUMNS if field != "artist_id"])
    for chunk in read_csv(path, "\t", header, keep=list(column_of.values())):
        yield Chunk(renamed(chunk.rows, column_of), chunk.malformed, time_unit="s")
