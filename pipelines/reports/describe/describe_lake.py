"""Describe: the figures of a lake.

Memory is bounded by one day, by a row for each track and each user, and by `SAMPLE_LISTENS`
listens of some users, of whom sessions and repeats are read off; it does not grow with the listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from fsvae.schema import KINDS
from pipelines.lake.events import read_buckets
from pipelines.lake.lake import N_BUCKETS, Lake
from pipelines.reports.describe.description import (
    DAYS,
    SAMPLE_LISTENS,
    Description,
    Ints,
    accounting,
    descending,
    labels_of,
    sample_of,
    side_data,
    span_of,
)
from pipelines.reports.describe.drift import Drift, drift

Done = Callable[[int, int], None]
"""Called with (files read, files in all)."""

DRIFT_DAYS = 7
"""The latest so many days with events of a lake are compared with as many before them."""
_FOLD_ROWS = 1 << 20
_EPOCH = date(1970, 1, 1)
_LATEST, _PREVIOUS = "latest", "previous"


class _Tally:
    """Listens by id: in all, in the two spans that are compared, and the first day. A row for each id, no more."""

    def __init__(self) -> None:
        empty = {"listens": pl.Int64, "first": pl.Int32, _LATEST: pl.Int64, _PREVIOUS: pl.Int64}
        self._folded = pl.DataFrame(schema={"id": pl.String, **empty})
        self._new: list[pl.DataFrame] = []

    def add(self, ids: pl.Series, day: int, span: str) -> None:
        """Count the listens of a day."""
        counts = ids.alias("id").value_counts(name="listens")
        listens = pl.col("listens").cast(pl.Int64)
        columns = [pl.col("id").cast(pl.String), listens, pl.lit(day, pl.Int32).alias("first")]
        columns += [(listens if span == name else pl.lit(0, pl.Int64)).alias(name) for name in (_LATEST, _PREVIOUS)]
        self._new.append(counts.select(columns))
        # Folding at every day would read all ids again for each; so it is a few times in all.
        if sum(map(len, self._new)) > max(_FOLD_ROWS, len(self._folded)):
            self.rows()

    def rows(self) -> pl.DataFrame:
        """Return id, listens, first day, and the listens of the latest and the previous span, by id."""
        sums = [pl.col("listens", _LATEST, _PREVIOUS).sum(), pl.col("first").min()]
        self._folded = pl.concat([self._folded, *(frame.select(self._folded.columns) for frame in self._new)])
        self._folded = (
            self._folded.group_by("id").agg(sums).sort("id").select("id", "listens", "first", _LATEST, _PREVIOUS)
        )
        self._new = []
        return self._folded


@dataclass
class _Counts:
    """What one pass over the days of a lake leaves."""

    width: int
    """Days in each of the spans that are compared."""
    days: list[dict[str, Any]] = field(default_factory=list)
    hours: dict[str, Ints] = field(default_factory=dict)
    """Span → listens in each hour of day."""
    buckets: Ints = field(default_factory=lambda: np.zeros(N_BUCKETS, dtype=np.int64))
    """Listens of the users in each bucket."""
    tracks: _Tally = field(default_factory=_Tally)
    users: _Tally = field(default_factory=_Tally)

    def add(self, name: str, events: pl.DataFrame, span: str) -> None:
        """Count a day, which may belong to a span."""
        day = date.fromisoformat(name)
        kinds = dict(events["kind"].cast(pl.String).value_counts().iter_rows())
        listens = events.filter(pl.col("kind") == "listen")
        counts = {kind: kinds.get(kind, 0) for kind in KINDS}
        self.days.append({"day": day, **counts, "users": listens["user_id"].n_unique()})
        hours = np.bincount(listens["played_at"].dt.hour().to_numpy(), minlength=24)
        self.hours[span] = self.hours.get(span, 0) + hours
        self.buckets += np.bincount(listens["bucket"].to_numpy(), minlength=N_BUCKETS)
        self.tracks.add(listens["track_id"], (day - _EPOCH).days, span)
        self.users.add(listens["user_id"], (day - _EPOCH).days, span)

    def table(self) -> pl.DataFrame:
        """Return a row for each day."""
        return pl.DataFrame(self.days, schema=DAYS)


def describe_lake(lake: Lake, done: Done = lambda done, of: None) -> Description:
    """Return what is in a lake.

    Raises:
        UserError: no log went in.
    """
    days = sorted(lake.manifest.days) if lake.manifest.logs else lake.days()
    counts = _Counts(width=min(DRIFT_DAYS, len(days) // 2))
    for index, day in enumerate(days):
        left = len(days) - index
        span = _LATEST if left <= counts.width else _PREVIOUS if left <= 2 * counts.width else ""
        counts.add(day, _read(lake, day, (0, N_BUCKETS)), span)
        done(index + 1, 2 * len(days))
    sample = None
    if counts.buckets.any():
        buckets = (0, _sample_end(counts.buckets))
        pieces = []
        for index, day in enumerate(days, len(days)):
            pieces.append(_read(lake, day, buckets).filter(pl.col("kind") == "listen").drop("kind", "bucket"))
            done(index + 1, 2 * len(days))
        sample = sample_of(pl.concat(pieces), int(counts.buckets.sum()))
    found = _drift(counts)
    known = lake.read_tracks()
    tracks = counts.tracks.rows()
    return Description(
        what="lake",
        where=str(lake.root),
        **accounting(lake.manifest.logs),
        days=counts.table(),
        listens_U=descending(counts.users.rows()["listens"].to_numpy()),
        listens_T=descending(tracks["listens"].to_numpy()),
        known_tracks=len(known),
        side=side_data(known),
        sample=sample,
        drift=found,
        labels=labels_of(found, tracks["id"], known),
    )


def _drift(counts: _Counts) -> Drift | None:
    width = counts.width
    if not width:
        return None
    days, plural = counts.table(), "" if width == 1 else "s"
    previous = span_of(f"the {width} day{plural} before", days[-2 * width : -width], counts.hours[_PREVIOUS])
    latest = span_of(f"latest {width} day{plural}", days[-width:], counts.hours[_LATEST])
    begin = (latest.first - _EPOCH).days
    tracks, users = counts.tracks.rows(), counts.users.rows()
    return drift(
        previous,
        latest,
        tracks[_PREVIOUS].to_numpy(),
        tracks[_LATEST].to_numpy(),
        (tracks["first"] < begin).to_numpy(),
        int(users.filter(pl.col("first") >= begin)[_LATEST].sum()),
    )


def _read(lake: Lake, day: str, buckets: tuple[int, int]) -> pl.DataFrame:
    texts = ["user_id", "track_id", "kind"]
    file = lake.open(lake.manifest.days[day])
    return pl.DataFrame(pl.from_arrow(read_buckets(file, buckets, [*texts, "played_at", "bucket"], texts)))


def _sample_end(bucket_listens: Ints) -> int:
    """Return before which bucket to stop, so that the sample has listens but not many more than it should."""
    first = int(np.flatnonzero(bucket_listens)[0])
    return max(first + 1, int(np.searchsorted(np.cumsum(bucket_listens), SAMPLE_LISTENS, side="right")))
