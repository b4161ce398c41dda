"""The description of a lake or a dataset, and the parts computed alike for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.schema import KINDS, TRACKS
from pipelines.reports.describe.drift import Drift, Span
from pipelines.reports.describe.statistics import Histories, Statistics, describe
from pipelines.reports.words import TRACK_LABEL

Ints = NDArray[np.int64]

DAYS: dict[str, Any] = {"day": pl.Date, **dict.fromkeys(KINDS, pl.Int64), "users": pl.Int64}
"""Columns of `Description.days`."""
SAMPLE_LISTENS = 2_000_000
"""Approximate listens in the sample for sessions and repeats, which holds whole users, the first by their hash."""
_SIDE = [name for name in TRACKS.names if name != "track_id"]


@dataclass(frozen=True)
class Log:
    """The row counts of a log: rows_in = taken + rejected + duplicates."""

    name: str
    rows_in: int
    taken: int
    rejected: int
    duplicates: int


@dataclass(frozen=True)
class Sample:
    """Figures measured on the histories of some users, or of all."""

    share: float
    """Share of all listens that are of these users."""
    statistics: Statistics
    session_lengths: Ints
    """[sessions] number of listens in each session."""
    positions: Ints
    """[N] number of listens of the same user before each listen."""
    repeats: NDArray[np.bool_]
    """[N] whether the user had heard the track before."""


@dataclass(frozen=True)
class Period:
    """A period of a prepared dataset."""

    name: str
    span: Span
    in_catalogue: int
    """Number of listens to tracks of the catalogue."""


@dataclass(frozen=True)
class Description:
    """The description of a lake or a dataset."""

    what: str
    """Kind of the described: lake or dataset."""
    where: str
    logs: list[Log]
    reasons: dict[str, int]
    """Reason of rejects → number of rows."""
    days: pl.DataFrame
    """Days with events, in order: `day`, a column with the events of each kind, and the `users` that listened."""
    listens_U: Ints
    """[U] number of listens of each user with any, the most first."""
    listens_T: Ints
    """[T] number of listens to each track with any, the most first."""
    known_tracks: int
    """Number of tracks that the logs name; in a dataset, of those with a listen."""
    side: dict[str, int]
    """Field of a track's metadata → number of tracks for which it is known."""
    sample: Sample | None
    """Sample of histories; None without listens."""
    drift: Drift | None
    """Drift between two spans; None unless both have listens."""
    labels: dict[int, str]
    """Names of the tracks of `drift.movers`."""
    periods: list[Period] = field(default_factory=list)
    """Periods of a dataset; empty for a lake."""
    catalogue: int | None = None
    """Number of tracks in the catalogue of a dataset; None for a lake."""

    @property
    def events(self) -> int:
        """Return the number of events of all kinds."""
        return int(self.days.select(pl.sum_horizontal(pl.col(KINDS).sum())).item())

    @property
    def listens(self) -> int:
        """Return the number of listens."""
        return int(self.days["listen"].sum())

    @property
    def gaps(self) -> list[tuple[date, date]]:
        """Return the runs of days without events between the first and the last day, as (first, last)."""
        days = self.days["day"].to_list()
        one = timedelta(days=1)
        return [(a + one, b - one) for a, b in pairwise(days) if b - a > one]


def sample_of(listens: pl.DataFrame, of: int) -> Sample:
    """Return the figures of the histories of some users, whose listens are some of `of`; see `Histories.of`."""
    log = Histories.of(listens)
    lengths = np.diff(np.append(np.flatnonzero(log.starts), len(log.starts)))
    return Sample(len(listens) / of, describe(log), lengths, log.n_before, log.since > 0)


def accounting(logs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return `logs` and `reasons` of a description from the logs of a manifest; the most frequent reason first."""
    reasons: dict[str, int] = {}
    for log in logs.values():
        for reason, rows in log["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + rows
    counts = ("rows_in", "taken", "rejected", "duplicates")
    return {
        "logs": [Log(log["log"], *(log[name] for name in counts)) for log in logs.values()],
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }


def side_data(tracks: pl.DataFrame) -> dict[str, int]:
    """Return the number of tracks for which each field is known."""
    return {name: int(tracks[name].is_not_null().sum()) for name in _SIDE}


def labels_of(found: Drift | None, ids: pl.Series, known: pl.DataFrame) -> dict[int, str]:
    """Return the label of each mover: title and artist, or the id where the title is not known."""
    movers = [mover.track for mover in found.movers] if found else []
    wanted = pl.DataFrame(
        {"row": movers, "track_id": ids.gather(movers)}, schema={"row": pl.Int64, "track_id": pl.String}
    )
    named = wanted.join(known.select("track_id", "title", "artist_name"), on="track_id", how="left")
    return dict(named.select("row", TRACK_LABEL.alias("label")).iter_rows())


def descending(counts: Ints) -> Ints:
    """Return the counts above 0, the largest first."""
    return np.sort(counts[counts > 0])[::-1]
