"""Describe: the figures of a prepared dataset. Memory is bounded by one part of the users, and else as in
`pipelines.reports.describe.describe_lake`."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fsvae.data.dataset import PERIODS, shard_name
from fsvae.features.slow import DAY_US
from fsvae.schema import KINDS
from fsvae.storage import Folder, read_frame
from pipelines.reports.describe.describe_lake import Done
from pipelines.reports.describe.description import (
    DAYS,
    SAMPLE_LISTENS,
    Description,
    Ints,
    Period,
    accounting,
    descending,
    labels_of,
    sample_of,
    side_data,
    span_of,
)
from pipelines.reports.describe.drift import drift


class _Counts:
    """What the parts of the users leave, folded one after another: by period (P), track (T), hour (H) and day (D)."""

    def __init__(self, n_tracks: int, n_days: int, cuts_us: list[int]) -> None:
        self._cuts_us = cuts_us
        self.listens_PT = np.zeros((len(PERIODS), n_tracks), dtype=np.int64)
        self.listens_PH = np.zeros((len(PERIODS), 24), dtype=np.int64)
        self.listens_PD = np.zeros((len(PERIODS), n_days), dtype=np.int64)
        self.users_D = np.zeros(n_days, dtype=np.int64)
        self.listens_U: list[Ints] = []
        """Of each part."""
        self.new_users = 0
        """Test listens by users without a training listen."""

    def add(self, user: Ints, track: Ints, at: Ints) -> None:
        """Count the listens of a part."""
        n_days = len(self.users_D)
        period, day, hour = np.searchsorted(self._cuts_us, at, side="right"), at // DAY_US, at // (DAY_US // 24) % 24
        for counts, key in ((self.listens_PT, track), (self.listens_PH, hour), (self.listens_PD, day)):
            for number in range(len(PERIODS)):
                counts[number] += np.bincount(key[period == number], minlength=counts.shape[1])
        self.users_D += np.bincount(np.unique(user * n_days + day) % n_days, minlength=n_days)
        self.listens_U.append(np.bincount(user))
        trained = np.bincount(user[period == 0], minlength=len(self.listens_U[-1])) > 0
        self.new_users += int(((period == 2) & ~trained[user]).sum())

    def days(self) -> pl.DataFrame:
        """Return a row for each day with listens."""
        listens = self.listens_PD.sum(axis=0)
        active = np.flatnonzero(listens)
        kinds = {kind: listens[active] if kind == "listen" else np.zeros_like(active) for kind in KINDS}
        return pl.DataFrame({"day": _dates(active), **kinds, "users": self.users_D[active]}, schema=DAYS)

    def periods(self, n_catalogue: int) -> list[Period]:
        """Return the periods with listens (validation may have none); the catalogue's tracks come first."""
        found = []
        for name, by_day, by_hour, by_track in zip(
            PERIODS, self.listens_PD, self.listens_PH, self.listens_PT, strict=True
        ):
            if not by_day.any():
                continue
            days = pl.DataFrame({"day": _dates(np.flatnonzero(by_day)), "listen": by_day[by_day > 0]})
            found.append(Period(name, span_of(f"{name} period", days, by_hour), int(by_track[:n_catalogue].sum())))
        return found


def describe_dataset(folder: Folder, manifest: dict[str, Any], done: Done = lambda done, of: None) -> Description:
    """Return what is in a prepared dataset: drift is that of the test against the training period."""
    tracks = read_frame(folder.open("tracks.parquet"))
    n_catalogue = manifest["counts"]["catalogue"]
    cuts_us = [manifest["train_until_us"], manifest["validation_until_us"]]
    counts = _Counts(len(tracks), manifest["as_of_day"], cuts_us)
    sample: list[pl.DataFrame] = []
    users = sampled = 0
    for index in range(manifest["parts"]):
        rows = _read_part(folder, index)
        counts.add(*(rows[name].to_numpy() for name in rows.columns))
        if sampled + len(rows) <= SAMPLE_LISTENS or not sampled:
            sample.append(rows.with_columns(pl.col("user_id") + users))
            sampled += len(rows)
        users += len(counts.listens_U[-1])
        done(index + 1, manifest["parts"])
    periods = counts.periods(n_catalogue)
    train, _, test = counts.listens_PT
    found = drift(periods[0].span, periods[-1].span, train, test, train > 0, counts.new_users)
    return Description(
        what="dataset",
        where=str(folder),
        **accounting(manifest["logs"]),
        days=counts.days(),
        listens_U=descending(np.concatenate(counts.listens_U)),
        listens_T=descending(counts.listens_PT.sum(axis=0)),
        known_tracks=len(tracks),
        side=side_data(tracks),
        sample=sample_of(pl.concat(sample), int(counts.listens_PD.sum())),
        drift=found,
        labels=labels_of(found, tracks["track_id"], tracks),
        periods=periods,
        catalogue=n_catalogue,
    )


def _dates(days: Ints) -> pl.Series:
    return pl.Series(days, dtype=pl.Int32).cast(pl.Date)


def _read_part(folder: Folder, index: int) -> pl.DataFrame:
    """Return a part's listens: the user's and the track's number as ids, and played_at [us]."""
    file = folder.open(f"sequences/{shard_name(index)}")
    table = pq.read_table(file, columns=["track_index", "played_at"])
    track, at = (pa.chunked_array(table[name]).combine_chunks() for name in table.column_names)
    lengths = np.diff(track.offsets.to_numpy())
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(len(lengths)), lengths),
            "track_id": track.flatten().to_numpy(),
            "played_at": at.flatten().cast(pa.int64()).to_numpy(),
        }
    )
