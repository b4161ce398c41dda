"""Describe: the figures of a prepared dataset. Memory is bounded by one shard of the users, and otherwise as in
`pipelines.reports.describe.describe_lake`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fsvae.data.dataset import PERIODS
from fsvae.prepare.dataset_files import shard_name
from fsvae.progress import Done
from fsvae.schema import KINDS
from fsvae.storage import Folder, read_frame
from pipelines.reports.describe.description import (
    SAMPLE_LISTENS,
    Description,
    Period,
    accounting,
    descending,
    labels_of,
    sample_of,
    side_data,
)
from pipelines.reports.describe.event_counts import SPANS, EventCounts


def describe_dataset(folder: Folder, manifest: dict[str, Any], done: Done = lambda done, of: None) -> Description:
    """Return the description of a prepared dataset; its drift is that of the test against the training period."""
    tracks = read_frame(folder.open("tracks.parquet"))
    n_catalogue = manifest["counts"]["catalogue"]
    counts = EventCounts([manifest["train_until_us"], manifest["validation_until_us"]])
    sample: list[pl.DataFrame] = []
    sampled = 0
    for index, rows in enumerate(_parts(folder, manifest["parts"])):
        counts.add(rows)
        if sampled + len(rows) <= SAMPLE_LISTENS or not sampled:
            sample.append(rows)
            sampled += len(rows)
        done(index + 1, manifest["parts"])
    heard = counts.tracks.rows()
    spans = [counts.span(number, f"{name} period") for number, name in enumerate(PERIODS)]
    in_catalogue = heard.filter(pl.col("id") < n_catalogue).select(SPANS).sum().row(0)
    found = counts.drift(0, "train period", "test period")
    days = counts.days()
    return Description(
        what="dataset",
        where=str(folder),
        **accounting(manifest["logs"]),
        days=days,
        listens_U=descending(counts.users.listens().to_numpy()),
        listens_T=descending(counts.tracks.listens().to_numpy()),
        known_tracks=len(tracks),
        side=side_data(tracks),
        sample=sample_of(pl.concat(sample), int(days["listen"].sum())),
        drift=found,
        labels=labels_of(found, tracks["track_id"].gather(heard["id"]), tracks),
        periods=[
            Period(name, span, listens)
            for name, span, listens in zip(PERIODS, spans, in_catalogue, strict=True)
            if span is not None
        ],
        catalogue=n_catalogue,
    )


def _parts(folder: Folder, parts: int) -> Iterator[pl.DataFrame]:
    """Yield the listens of each shard of the users as events; user and track are their indices."""
    first = 0
    for index in range(parts):
        file = folder.open(f"sequences/{shard_name(index)}")
        table = pq.read_table(file, columns=["track_index", "played_at"])
        track, at = (pa.chunked_array(table[name]).combine_chunks() for name in table.column_names)
        lengths = np.diff(track.offsets.to_numpy())
        yield pl.DataFrame(
            {
                "user_id": np.repeat(np.arange(first, first + len(lengths)), lengths),
                "track_id": track.flatten().to_numpy(),
                "played_at": at.flatten().cast(pa.int64()).to_numpy(),
            }
        ).with_columns(pl.col("played_at").cast(pl.Datetime("us")), kind=pl.lit("listen", pl.Enum(KINDS)))
        first += len(lengths)
