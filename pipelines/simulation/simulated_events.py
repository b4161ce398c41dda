"""Events of the simulated log, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipelines.simulation.draws import Bools, Ints

KINDS = ("listen", "skip", "like", "save")
LISTEN, SKIP, LIKE, SAVE = range(len(KINDS))
CONTEXTS = ("album", "library", "radio")
ALBUM, LIBRARY, RADIO = range(len(CONTEXTS))

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_TYPES = {"user": np.int32, "track": np.int32, "at": np.int64, "kind": np.int8, "ms": np.int32, "context": np.int8}
"""Small types: the events of a whole day are held in memory."""


@dataclass(frozen=True)
class Events:
    """Columns of events; `at` is in milliseconds since the log's first midnight."""

    user: Ints
    track: Ints
    at: Ints
    kind: Ints
    ms: Ints
    """Milliseconds played, or -1 where nothing was played."""
    context: Ints

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: Ints | Bools) -> Events:
        return Events(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def concat(parts: list[Events]) -> Events:
        columns = ((name, [getattr(part, name) for part in parts]) for name in _TYPES)
        return Events(*(np.concatenate(c, dtype=_TYPES[name], casting="same_kind") for name, c in columns))

    @staticmethod
    def none() -> Events:
        return Events(*(np.empty(0, kind) for kind in _TYPES.values()))

    def in_order(self, until: int) -> tuple[Ints, Ints]:
        """Return the rows before the time `until` and those from there, in order of time, then of row."""
        # One sort of whole numbers, with the row in the lower bits, is several times faster than a stable argsort.
        # With millions of rows, times of decades still fit.
        bits = len(self).bit_length()
        key = self.at << bits | np.arange(len(self))
        key.sort()
        cut = int(np.searchsorted(key, until << bits))
        rows = key & ((1 << bits) - 1)
        return rows[:cut], rows[cut:]
