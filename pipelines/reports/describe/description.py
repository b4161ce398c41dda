"""The description of a lake or a dataset, and what is made alike for both."""

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
"""Number of listens, about, of the users that sessions and repeats are read off, the first by their hash."""
_SIDE = [name for name in TRACKS.names if name != "track_id"]


@dataclass(frozen=True)
class Log:
    """Where the rows of a log went: rows_in = taken + rejected + duplicates."""

    name: str
    rows_in: int
    taken: int
    rejected: int
    duplicates: int


@dataclass(frozen=True)
class Sample:
    """What is read off the histories of some users, or of all."""

    share: float
    """Share of all listens that these users have."""
    statistics: Statistics
    session_lengths: Ints
    """[sessions] listens in each."""
    positions: Ints
    """[N] how many listens of the same user came before each listen."""
    repeats: NDArray[np.bool_]
    """[N] whether the user had heard the track before."""


@dataclass(frozen=True)
class Period:
    """A period of a prepared dataset."""

    name: str
    span: Span
    in_catalogue: int
    """Listens to tracks that have a vector."""


@dataclass(frozen=True)
class Description:
    """What is in a lake or a dataset."""

    what: str
    """lake or dataset"""
    where: str
    logs: list[Log]
    reasons: dict[str, int]
    """Why rows were rejected → how many."""
    days: pl.DataFrame
    """Days with events, in order: `day`, a column for each kind with its events, and `users` that listened."""
    listens_U: Ints
    """Listens of each user who has any, the most first."""
    listens_T: Ints
    """Listens to each track that has any, the most first."""
    known_tracks: int
    """Tracks that the logs name, in a dataset those that somebody listened to."""
    side: dict[str, int]
    """What may be known of a track → tracks of which it is."""
    sample: Sample | None
    """None without listens."""
    drift: Drift | None
    """None where there are not two spans with listens."""
    labels: dict[int, str]
    """Names of the tracks of `drift.movers`."""
    periods: list[Period] = field(default_factory=list)
    """Periods of a dataset; none of a lake."""
    catalogue: int | None = None
    """Tracks of a dataset that have a vector."""

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
        """Return the runs of days without events between the first and the last day: (first, last) of each."""
        days = self.days["day"].to_list()
        one = timedelta(days=1)
        return [(a + one, b - one) for a, b in pairwise(days) if b - a > one]


def sample_of(listens: pl.DataFrame, of: int) -> Sample:
    """Return what the histories of some users tell, whose listens are some of so many; see `Histories.of`."""
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
    """Return of how many tracks each field is known."""
    return {name: int(tracks[name].is_not_null().sum()) for name in _SIDE}


def labels_of(found: Drift | None, ids: pl.Series, known: pl.DataFrame) -> dict[int, str]:
    """Return for each mover its title and artist, or its id where the title is not known."""
    movers = [mover.track for mover in found.movers] if found else []
    wanted = pl.DataFrame(
        {"row": movers, "track_id": ids.gather(movers)}, schema={"row": pl.Int64, "track_id": pl.String}
    )
    named = wanted.join(known.select("track_id", "title", "artist_name"), on="track_id", how="left")
    return dict(named.select("row", TRACK_LABEL.alias("label")).iter_rows())


def descending(counts: Ints) -> Ints:
    """Return the counts above 0, the largest first."""
    return np.sort(counts[counts > 0])[::-1]
