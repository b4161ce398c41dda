"""Describe: the figures of a lake or a prepared dataset.

Memory is bounded by one day or one part of the users, by a row for each track and each user, and by `SAMPLE_LISTENS`
listens of some users, of whom sessions and repeats are read off; it does not grow with the listens.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.data.dataset import PERIODS, part_name
from fsvae.features.slow import DAY_US
from fsvae.schema import KINDS
from fsvae.storage import Folder
from pipelines.description import (
    DAYS,
    SAMPLE_LISTENS,
    Description,
    Period,
    accounting,
    descending,
    labels_of,
    sample_of,
    side_data,
    span_of,
)
from pipelines.drift import drift
from pipelines.lake import N_BUCKETS, Lake
from pipelines.parts import read_buckets

Ints = NDArray[np.int64]
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


def describe_lake(lake: Lake, done: Done = lambda done, of: None) -> Description:
    """Return what is in a lake.

    Raises:
        UserError: no log went in.
    """
    days = sorted(lake.manifest.days) if lake.manifest.logs else lake.days()
    width = min(DRIFT_DAYS, len(days) // 2)
    spans_of = dict.fromkeys(days[len(days) - 2 * width :], _PREVIOUS)
    spans_of |= dict.fromkeys(days[len(days) - width :], _LATEST)
    tracks, users = _Tally(), _Tally()
    table: list[dict[str, Any]] = []
    hours = {name: np.zeros(24, dtype=np.int64) for name in ("", _PREVIOUS, _LATEST)}
    bucket_listens = np.zeros(N_BUCKETS, dtype=np.int64)
    for index, day in enumerate(days):
        events = _read(lake, day, (0, N_BUCKETS))
        kinds = dict(events["kind"].cast(pl.String).value_counts().iter_rows())
        listens = events.filter(pl.col("kind") == "listen")
        number, span = (date.fromisoformat(day) - _EPOCH).days, spans_of.get(day, "")
        tracks.add(listens["track_id"], number, span)
        users.add(listens["user_id"], number, span)
        hours[span] += np.bincount(listens["played_at"].dt.hour().to_numpy(), minlength=24)
        bucket_listens += np.bincount(listens["bucket"].to_numpy(), minlength=N_BUCKETS)
        row = {"day": date.fromisoformat(day), **{kind: kinds.get(kind, 0) for kind in KINDS}}
        table.append({**row, "users": listens["user_id"].n_unique()})
        done(index + 1, 2 * len(days))
    by_day = pl.DataFrame(table, schema=DAYS)
    track_rows, user_rows = tracks.rows(), users.rows()
    spans = {
        name: span_of(label, by_day.filter(pl.col("day").is_in(_dates(spans_of, name))), hours[name])
        for name, label in ((_PREVIOUS, f"the {width} days before"), (_LATEST, f"latest {width} days"))
        if width
    }
    found = None
    if spans:
        begin = (spans[_LATEST].first - _EPOCH).days
        found = drift(
            spans[_PREVIOUS],
            spans[_LATEST],
            track_rows[_PREVIOUS].to_numpy(),
            track_rows[_LATEST].to_numpy(),
            (track_rows["first"] < begin).to_numpy(),
            int(user_rows.filter(pl.col("first") >= begin)[_LATEST].sum()),
        )
    known = lake.read_tracks()
    sample = None
    if bucket_listens.any():
        end = _sample_end(bucket_listens)
        pieces = []
        for index, day in enumerate(days):
            pieces.append(_read(lake, day, (0, end)).filter(pl.col("kind") == "listen").drop("kind", "bucket"))
            done(len(days) + index + 1, 2 * len(days))
        sample = sample_of(pl.concat(pieces), int(bucket_listens.sum()))
    return Description(
        what="lake",
        where=str(lake.root),
        **accounting(lake.manifest.logs),
        days=by_day,
        listens_U=descending(user_rows["listens"].to_numpy()),
        listens_T=descending(track_rows["listens"].to_numpy()),
        known_tracks=len(known),
        side=side_data(known),
        sample=sample,
        drift=found,
        labels=labels_of(found, track_rows["id"], known),
    )


def describe_dataset(folder: Folder, manifest: dict[str, Any], done: Done = lambda done, of: None) -> Description:
    """Return what is in a prepared dataset: drift is that of the test against the training period."""
    tracks = pl.DataFrame(pl.from_arrow(pq.read_table(folder.open("tracks.parquet"))))
    cuts = [manifest["train_until_us"], manifest["validation_until_us"]]
    n_days = manifest["as_of_day"]
    counts_PT = np.zeros((len(PERIODS), len(tracks)), dtype=np.int64)
    hours_PH = np.zeros((len(PERIODS), 24), dtype=np.int64)
    listens_PD = np.zeros((len(PERIODS), n_days), dtype=np.int64)
    users_D = np.zeros(n_days, dtype=np.int64)
    listens_U, new_users, sample_parts, sampled = [], 0, [], 0
    for index in range(manifest["parts"]):
        rows = _read_part(folder, index)
        user, track, at = (rows[name].to_numpy() for name in ("user_id", "track_id", "played_at"))
        period, day = np.searchsorted(cuts, at, side="right"), at // DAY_US
        for number in range(len(PERIODS)):
            inside = period == number
            counts_PT[number] += np.bincount(track[inside], minlength=len(tracks))
            hours_PH[number] += np.bincount(at[inside] // (DAY_US // 24) % 24, minlength=24)
            listens_PD[number] += np.bincount(day[inside], minlength=n_days)
        users_D += np.bincount(np.unique(user.astype(np.int64) * n_days + day) % n_days, minlength=n_days)
        of_user = np.bincount(user)
        listens_U.append(of_user)
        trained = np.bincount(user[period == 0], minlength=len(of_user)) > 0
        new_users += int(((period == 2) & ~trained[user]).sum())
        if not sampled or sampled + len(rows) <= SAMPLE_LISTENS:
            sample_parts.append(rows.with_columns(pl.col("user_id") + sum(map(len, listens_U[:-1]))))
            sampled += len(rows)
        done(index + 1, manifest["parts"])
    listens_D = listens_PD.sum(axis=0)
    active = np.flatnonzero(listens_D)
    by_day = pl.DataFrame(
        {
            "day": pl.Series(active, dtype=pl.Int32).cast(pl.Date),
            **{kind: listens_D[active] if kind == "listen" else np.zeros(len(active), np.int64) for kind in KINDS},
            "users": users_D[active],
        },
        schema=DAYS,
    )
    periods = []
    for name, of_day, hours, of_track in zip(PERIODS, listens_PD, hours_PH, counts_PT, strict=True):
        days = pl.DataFrame({"day": np.flatnonzero(of_day), "listen": of_day[of_day > 0]})
        days = days.with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date))
        inside = int(of_track[tracks["in_catalogue"].to_numpy()].sum())
        periods.append(Period(name, span_of(f"{name} period", days, hours), inside))
    train, _, test = counts_PT
    found = drift(periods[0].span, periods[2].span, train, test, train > 0, new_users)
    return Description(
        what="dataset",
        where=str(folder),
        **accounting(manifest["logs"]),
        days=by_day,
        listens_U=descending(np.concatenate(listens_U)),
        listens_T=descending(counts_PT.sum(axis=0)),
        known_tracks=len(tracks),
        side=side_data(tracks),
        sample=sample_of(pl.concat(sample_parts), int(listens_D.sum())),
        drift=found,
        labels=labels_of(found, tracks["track_id"], tracks),
        periods=periods,
        catalogue=manifest["counts"]["catalogue"],
    )


def _read(lake: Lake, day: str, buckets: tuple[int, int]) -> pl.DataFrame:
    texts = ["user_id", "track_id", "kind"]
    file = lake.open(lake.manifest.days[day])
    return pl.DataFrame(pl.from_arrow(read_buckets(file, buckets, [*texts, "played_at", "bucket"], texts)))


def _read_part(folder: Folder, index: int) -> pl.DataFrame:
    """Return a part's listens: the user's and the track's number as ids, and played_at [us]."""
    file = folder.open(f"sequences/{part_name(index)}")
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


def _sample_end(bucket_listens: Ints) -> int:
    """Return before which bucket to stop, so that the sample has listens but not many more than it should."""
    first = int(np.flatnonzero(bucket_listens)[0])
    return max(first + 1, int(np.searchsorted(np.cumsum(bucket_listens), SAMPLE_LISTENS, side="right")))


def _dates(spans_of: dict[str, str], span: str) -> list[date]:
    return [date.fromisoformat(day) for day, name in spans_of.items() if name == span]
