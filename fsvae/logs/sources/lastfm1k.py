"""Last.fm-1K, ``userid-timestamp-artid-artname-traid-traname.tsv``: listens of 992 Last.fm users until May 2009.

Source: ocelma.net/MusicRecommendationDataset/lastfm-1K.html (Celma, Music Recommendation and Discovery, 2010). One
listen a line, no header: user, time (ISO, UTC), artist's MusicBrainz id, artist, track's MusicBrainz id, title,
separated by tabs. Fields are not quoted: a quotation mark is part of a name. Ids may be empty; a track without one gets
an id made of artist and title (`named_ids.with_named_ids`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsvae.logs.formats.csv import first_lines, read_csv
from fsvae.logs.named_ids import with_named_ids
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

FILES = ("userid-timestamp-*.tsv*",)
_FIELDS = ["user_id", "played_at", "artist_id", "artist_name", "track_id", "title"]


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of the listens' file, plain or compressed; see `fsvae.schema.RAW_EVENTS` for the fields.

    Raises:
        UserError: the file cannot be read, or is empty or binary.
    """
    first_lines(path, 1)  # refuses files that are not text
    for chunk in read_csv(path, "\t", _FIELDS, keep=_FIELDS, first_line=1, quotes=False):
        rows = with_named_ids(chunk.rows) if len(chunk.rows) else chunk.rows
        yield Chunk(rows, chunk.malformed, time_unit="iso")
