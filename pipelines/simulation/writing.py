"""Writing a day of the simulated log: one Parquet file in order of time, piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fsvae.schema import RAW_EVENTS, TIMESTAMP
from pipelines.simulation.draws import Ints
from pipelines.simulation.simulated_events import CONTEXTS, KINDS, Events
from pipelines.simulation.world import World

ROW_GROUP = 1 << 21
"""Number of rows that are written at a time."""
_NUMBERS = ["played_at", "ms_played", "duration_ms"]


@dataclass(frozen=True)
class Words:
    """Texts of numbered things."""

    distinct: pa.Array
    word: Ints
    """[things] index of each thing's text in `distinct`; several may share one."""

    @classmethod
    def of(cls, texts: list[str]) -> Words:
        place = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        return cls(pa.array(list(place), pa.string()), np.array([place[text] for text in texts], np.int32))

    def column(self, things: Ints) -> pa.Array:
        """Return the texts of `things` as a dictionary array, with only the texts that occur where these are few."""
        word = self.word.take(things)
        if 2 * len(self.distinct) <= len(things):
            return pa.DictionaryArray.from_arrays(word, self.distinct)
        used = np.zeros(len(self.distinct), np.bool_)
        used[word] = True
        code = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return pa.DictionaryArray.from_arrays(code[word], self.distinct.take(pa.array(np.flatnonzero(used))))


class DayWriter:
    """Writes days of RAW_EVENTS."""

    def __init__(self, world: World, users: int, first_midnight_ms: int, metadata: Mapping[bytes, str]) -> None:
        self._world = world
        self._first_midnight_ms = first_midnight_ms
        self._metadata = metadata
        width = max(5, len(str(users - 1)))
        self._users = Words.of([f"u{number:0{width}d}" for number in range(users)])
        self._kinds, self._contexts = Words.of(list(KINDS)), Words.of(list(CONTEXTS))
        self._tracks, self._titles = Words.of(world.track_ids), Words.of(world.titles)
        self._artists, self._names = Words.of(world.artist_ids), Words.of(world.artist_names)
        self._albums = Words.of(world.album_names)

    def write(self, events: Events, order: Ints, path: Path) -> None:
        """Write a day, the rows `order` of `events`; a file with the day's name is always complete."""
        temporary = path.with_name(f".{path.name}.tmp")
        pieces = [order[first : first + ROW_GROUP] for first in range(0, max(len(order), 1), ROW_GROUP)]
        schema = self._table(events.take(order[:0])).schema
        # Without the Arrow schema in the file, texts are read as texts, though they are written by dictionary.
        # Minima and maxima of texts are useless here, and cost more than all the rest.
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in schema.names if name not in _NUMBERS],
            dictionary_pagesize_limit=1 << 30,
            write_statistics=_NUMBERS,
            column_encoding={"played_at": "DELTA_BINARY_PACKED"},
            store_schema=False,
            write_batch_size=1 << 16,
        ) as writer:
            writer.add_key_value_metadata(self._metadata)
            for rows in pieces:
                writer.write_table(self._table(events.take(rows)), row_group_size=ROW_GROUP)
        temporary.replace(path)

    def _table(self, events: Events) -> pa.Table:
        world = self._world
        artist = world.track_artist[events.track]
        columns = {
            "user_id": self._users.column(events.user),
            "track_id": self._tracks.column(events.track),
            "played_at": pa.array((events.at + self._first_midnight_ms) * 1000).cast(TIMESTAMP),
            "kind": self._kinds.column(events.kind),
            "ms_played": pa.array(events.ms, mask=events.ms < 0),
            "duration_ms": pa.array(world.track_ms[events.track]),
            "context": self._contexts.column(events.context),
            "title": self._titles.column(events.track),
            "artist_id": self._artists.column(artist),
            "artist_name": self._names.column(artist),
            "album": self._albums.column(world.track_album[events.track]),
        }
        nullable = {field.name: field.nullable for field in RAW_EVENTS}
        fields = [pa.field(name, column.type, nullable[name]) for name, column in columns.items()]
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
