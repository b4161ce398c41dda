"""Events counted by day, hour, user and track, chunk by chunk, in three spans of time.

Memory is bounded by one chunk, and by a row for each day, each user and each track.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import polars.selectors as cs

from fsvae.schema import KINDS
from pipelines.reports.describe.description import DAYS
from pipelines.reports.describe.drift import Drift, Span, drift

SPANS = ("0", "1", "2")
"""Names of the columns with the listens before the first cut, between the two, and from the second on."""
_FOLD_ROWS = 1 << 20


class Tally:
    """Listen counts by id in each span, with a single row for each id."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def add(self, listens: pl.DataFrame, column: str) -> None:
        """Count listens by the ids of a column; the column `span` holds the number of the span."""
        in_span = [(pl.col("span") == number).sum().cast(pl.Int64).alias(name) for number, name in enumerate(SPANS)]
        counts = listens.group_by(pl.col(column).alias("id")).agg(in_span)
        self._frames.append(counts.with_columns(cs.categorical().cast(pl.String)))
        # Folding at every chunk would read all ids again each time; this way it happens a few times in all.
        if sum(map(len, self._frames[1:])) > max(_FOLD_ROWS, len(self._frames[0])):
            self.rows()

    def rows(self) -> pl.DataFrame:
        """Return id and SPANS, sorted by id."""
        if not self._frames:
            return pl.DataFrame(schema={"id": pl.String, **dict.fromkeys(SPANS, pl.Int64)})
        self._frames = [pl.concat(self._frames).group_by("id").sum().sort("id")]
        return self._frames[0]

    def listens(self) -> pl.Series:
        """Return the number of listens of each id in all spans, sorted by id."""
        return self.rows().select(pl.sum_horizontal(SPANS)).to_series()


class EventCounts:
    """The counts of all chunks so far."""

    def __init__(self, cuts_us: Sequence[int]) -> None:
        """Count in the three spans that two times [us] separate."""
        self._cuts_us = cuts_us
        self._days = [pl.DataFrame(schema={"span": pl.Int64, **DAYS}).drop("users")]
        self._active = [pl.DataFrame(schema={"day": pl.Date, "users": pl.Int64})]
        self._hours = np.zeros((len(SPANS), 24), dtype=np.int64)
        self.users, self.tracks = Tally(), Tally()

    def add(self, events: pl.DataFrame) -> None:
        """Count a chunk with user_id, track_id, played_at and kind that holds all listens of its users on its days."""
        at = events["played_at"]
        span = np.searchsorted(self._cuts_us, at.to_physical().to_numpy(), side="right")
        events = events.with_columns(pl.Series("span", span, pl.Int64), at.dt.date().alias("day"))
        of_kind = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
        self._days.append(events.group_by("span", "day").agg(of_kind))
        listens = events.filter(pl.col("kind") == "listen")
        active = pl.col("user_id").n_unique().cast(pl.Int64).alias("users")
        self._active.append(listens.group_by("day").agg(active))
        place = (listens["span"] * 24 + listens["played_at"].dt.hour()).to_numpy()
        self._hours += np.bincount(place, minlength=self._hours.size).reshape(self._hours.shape)
        self.users.add(listens, "user_id")
        self.tracks.add(listens, "track_id")

    def days(self) -> pl.DataFrame:
        """Return a row for each day with events: DAYS."""
        kinds = pl.concat(self._days).group_by("day").agg(pl.col(KINDS).sum())
        users = pl.concat(self._active).group_by("day").sum()
        found = kinds.join(users, on="day", how="left").sort("day")
        return found.with_columns(pl.col("users").fill_null(0)).select(*DAYS)

    def span(self, number: int, name: str) -> Span | None:
        """Return a span; None where it has no events."""
        days = pl.concat(self._days).filter(pl.col("span") == number)
        if days.is_empty():
            return None
        first, last, count = days.select(
            pl.col("day").min(), pl.col("day").max().alias("last"), pl.col("day").n_unique().alias("count")
        ).row(0)
        events = int(days.select(KINDS).sum_horizontal().sum())
        return Span(name, first, last, count, events, int(days["listen"].sum()), self._hours[number])

    def drift(self, earlier: int, earlier_name: str, name: str) -> Drift | None:
        """Compare the last span with an earlier one, by its number; None where one of them has no listens."""
        before, after = self.span(earlier, earlier_name), self.span(2, name)
        if before is None or after is None:
            return None
        tracks, users = self.tracks.rows(), self.users.rows()
        is_known = pl.sum_horizontal(SPANS[: earlier + 1]) > 0
        return drift(
            before,
            after,
            tracks[SPANS[earlier]].to_numpy(),
            tracks[SPANS[-1]].to_numpy(),
            tracks.select(is_known).to_series().to_numpy(),
            int(users.filter(~is_known)[SPANS[-1]].sum()),
        )
