"""Describe: the figures of a lake.

Memory is bounded by one day, by a row for each track and each user, and by `SAMPLE_LISTENS` listens of some users,
from which sessions and repeats are measured; it does not grow with the listens.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from fsvae.prepare.buckets import N_BUCKETS
from fsvae.prepare.events import read_buckets
from fsvae.progress import Done
from pipelines.lake.lake import Lake
from pipelines.reports.describe.description import (
    SAMPLE_LISTENS,
    Description,
    Ints,
    accounting,
    descending,
    labels_of,
    sample_of,
    side_data,
)
from pipelines.reports.describe.event_counts import EventCounts

DRIFT_DAYS = 7
"""Number of the latest days with events that are compared with as many before them."""


def describe_lake(lake: Lake, done: Done = lambda done, of: None) -> Description:
    """Return the description of a lake.

    Raises:
        UserError: no log was ingested.
    """
    days = sorted(lake.manifest.days) if lake.manifest.logs else lake.days()
    width = min(DRIFT_DAYS, len(days) // 2)
    cuts = [days[-2 * width], days[-width]] if days else []
    counts = EventCounts(np.array(cuts, dtype="datetime64[us]").astype(np.int64).tolist())
    bucket_listens = np.zeros(N_BUCKETS, dtype=np.int64)
    for index, day in enumerate(days):
        events = _read(lake, day, (0, N_BUCKETS))
        counts.add(events)
        listens = events.filter(pl.col("kind") == "listen")
        bucket_listens += np.bincount(listens["bucket"].to_numpy(), minlength=N_BUCKETS)
        done(index + 1, 2 * len(days))
    sample = None
    if bucket_listens.any():
        buckets = (0, _sample_end(bucket_listens))
        pieces = []
        for index, day in enumerate(days, len(days)):
            pieces.append(_read(lake, day, buckets).filter(pl.col("kind") == "listen").drop("kind", "bucket"))
            done(index + 1, 2 * len(days))
        sample = sample_of(pl.concat(pieces), int(bucket_listens.sum()))
    known, plural = lake.read_tracks(), "" if width == 1 else "s"
    found = counts.drift(1, f"the {width} day{plural} before", f"latest {width} day{plural}")
    return Description(
        what="lake",
        where=str(lake.root),
        **accounting(lake.manifest.logs),
        days=counts.days(),
        listens_U=descending(counts.users.listens().to_numpy()),
        listens_T=descending(counts.tracks.listens().to_numpy()),
        known_tracks=len(known),
        side=side_data(known),
        sample=sample,
        drift=found,
        labels=labels_of(found, counts.tracks.rows()["id"], known),
    )


def _read(lake: Lake, day: str, buckets: tuple[int, int]) -> pl.DataFrame:
    texts = ["user_id", "track_id", "kind"]
    file = lake.open(lake.manifest.days[day])
    return pl.DataFrame(pl.from_arrow(read_buckets(file, buckets, [*texts, "played_at", "bucket"], texts)))


def _sample_end(bucket_listens: Ints) -> int:
    """Return the bucket before which to stop, so that the sample has listens but not many more than SAMPLE_LISTENS."""
    first = int(np.flatnonzero(bucket_listens)[0])
    return max(first + 1, int(np.searchsorted(np.cumsum(bucket_listens), SAMPLE_LISTENS, side="right")))
