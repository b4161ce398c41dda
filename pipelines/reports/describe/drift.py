"""Drift: the difference between the latest span of days and the one before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SHOWN_TRACKS = 500
"""Number of the tracks heard most in both spans together that are kept for a plot."""
MOVERS = 5
"""Number of tracks that are named whose share grew most, and of those whose share fell most."""


@dataclass(frozen=True)
class Span:
    """The counts of a span of days."""

    name: str
    first: date
    last: date
    days: int
    """Number of days with events."""
    events: int
    listens: int
    hours: Ints
    """[24] number of listens that began in each hour of day, UTC."""

    @property
    def events_a_day(self) -> float:
        """Return the mean number of events of a day with events."""
        return self.events / self.days


@dataclass(frozen=True)
class Distance:
    """Jensen-Shannon distance of two distributions, and its value by chance."""

    measured: float
    chance: float
    """Distance of two random samples, of the same sizes, from both distributions together. Listens of one user are more
    alike than random ones, so a log without drift lies a little above it."""


@dataclass(frozen=True)
class Mover:
    """A track whose share of the listens changed much."""

    track: int
    before: float
    after: float


@dataclass(frozen=True)
class Drift:
    """The differences of the latest span from the one before."""

    previous: Span
    latest: Span
    tracks: Distance
    hours: Distance
    new_tracks: float
    """Share of the latest listens to tracks that had not been heard before."""
    new_users: float
    """Share of the latest listens by users who had not listened before."""
    movers: list[Mover]
    """Movers by change of share, the largest gain first."""
    shares: NDArray[np.float64]
    """[2, at most SHOWN_TRACKS] shares of the listens, before and after, of the tracks heard most."""

    @property
    def events_change(self) -> float:
        """Return the relative change of the events a day."""
        return self.latest.events_a_day / self.previous.events_a_day - 1


def drift(
    previous: Span, latest: Span, before_T: Ints, after_T: Ints, known_T: NDArray[np.bool_], new_users: int
) -> Drift | None:
    """Compare two spans; None where one of them has no listens.

    Args:
        previous: the earlier span.
        latest: the later one.
        before_T: [T] number of listens to each track in the earlier span.
        after_T: [T] number of listens to each track in the later span.
        known_T: [T] whether the track had been heard before the later span.
        new_users: number of listens in the later span by users who had not listened before it.
    """
    if not (previous.listens and latest.listens):
        return None
    shares = np.stack([before_T / previous.listens, after_T / latest.listens])
    most = np.argsort(-shares.sum(axis=0), kind="stable")[:SHOWN_TRACKS]
    return Drift(
        previous,
        latest,
        tracks=distance(before_T, after_T),
        hours=distance(previous.hours, latest.hours),
        new_tracks=float(after_T[~known_T].sum() / latest.listens),
        new_users=new_users / latest.listens,
        movers=_movers(*shares),
        shares=shares[:, most],
    )


def distance(a: Ints, b: Ints) -> Distance:
    """Return the distance of the distributions of two rows of counts, neither of which is all zero."""
    together = (a + b) / (a.sum() + b.sum())
    generator = np.random.default_rng(0)
    random = [generator.multinomial(int(counts.sum()), together) for counts in (a, b)]
    return Distance(js_distance(a, b), js_distance(*random))


def js_distance(a: Ints, b: Ints) -> float:
    """Return the Jensen-Shannon distance of two rows of counts: 0 for equal shares, 1 for nothing in common.

    The square root of the divergence in bits (Lin, IEEE Transactions on Information Theory 37(1), 1991), which is a
    metric (Endres and Schindelin, ibid. 49(7), 2003).
    """
    from scipy.spatial.distance import jensenshannon  # takes longer to import than all else that describe needs

    with np.errstate(invalid="ignore"):  # for equal shares, rounding may make the divergence negative
        return float(np.nan_to_num(jensenshannon(a, b, base=2)))


def _movers(before: NDArray[np.float64], after: NDArray[np.float64]) -> list[Mover]:
    change = after - before
    order = np.argsort(-change, kind="stable")
    ups, downs = order[change[order] > 0], order[change[order] < 0]
    chosen = [*ups[:MOVERS], *downs[-MOVERS:]]
    return [Mover(int(track), float(before[track]), float(after[track])) for track in chosen]
