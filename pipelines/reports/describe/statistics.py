"""Statistics of a listening log: how much it repeats, how long sessions are, how well the next track can be guessed.

All are read off arrays of whole numbers, 16 bytes a listen; nothing else grows with the log but passing copies of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.features.sessions import is_session_start, previous_times

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIRST_LISTENS = 200
"""Listens of each user that `repeat_share_first` looks at: a repeat share grows with the length of a history."""
RECENT = 128
"""Listens that a model with the default history sees at most; an older repeat is one that only a slow memory knows."""
TRAIN_SHARE = 0.8
"""Share of the listens, the earliest, that followers are learned from."""
_HOUR_US = 3_600 * 1_000_000
_DAY_US = 24 * _HOUR_US
_MONDAY = 3
"""1970-01-01 was a Thursday."""


@dataclass(frozen=True)
class Statistics:
    """What a log is like. Shares are between 0 and 1; None where the log does not tell."""

    listens: int
    tracks: int
    sessions: int
    session_mean: float
    """Listens in a session: a user's listens that begin at most 30 minutes apart (`fsvae.features.sessions`)."""
    session_median: float
    session_p90: float
    session_single: float
    """Share of the sessions that are one listen."""
    zipf: float
    """Exponent s of the popularity r^-s of the track of rank r, see `zipf_exponent`."""
    top_tenth: float
    """Share of the listens that goes to the most played tenth of the tracks."""
    same_again: float
    """Share of the listens within a session, but the first, that play the track before once more."""
    follower_global: float
    """Share of the last 20 % of the listens (but the first of a session) that the most frequent follower of the track
    before, counted over all users in the first 80 %, names rightly; where there is no follower, that is a miss."""
    users: int | None = None
    days: float | None = None
    """From the first listen to the last."""
    listens_median: float | None = None
    """Listens per user; of the users that have any."""
    listens_p90: float | None = None
    listens_gini: float | None = None
    """Gini coefficient of the listens per user: 0 all alike, 1 all with one."""
    repeat_share: float | None = None
    """Share of the listens to a track that the same user heard before in the log."""
    repeat_share_first: float | None = None
    """The same among the first 200 listens of the users who have as many."""
    repeat_old: float | None = None
    """Share of the listens, from a user's 129th, to a track that the user knows but not from the latest 128 listens."""
    start_old: float | None = None
    """The same among the first listens of sessions."""
    follower_personal: float | None = None
    """As `follower_global`, counted for each user apart."""
    new_tracks: float | None = None
    """Share of the last 20 % of the listens to tracks that nobody had heard in the first 80 %."""
    hour_entropy: float | None = None
    """Entropy of the hour of day of all listens, 1 where all 24 hours are alike."""
    hour_peak_to_trough: float | None = None
    """Listens in the busiest hour of day (UTC) for one in the quietest."""
    hour_personal: float | None = None
    """Length of the mean of the hours as points on a circle, 0 spread out, 1 always the same; mean over the users with
    at least 50 listens. It does not depend on where the clock begins."""
    weekday_peak_to_trough: float | None = None
    """Listens on the busiest weekday for one on the quietest."""


@dataclass(frozen=True)
class Histories:
    """The listens of a log as whole numbers, user after user, each user's in order of time."""

    user: Ints
    """[N] from 0, ascending."""
    track: Ints
    """[N] from 0."""
    at: Ints
    """[N] microseconds since 1970 UTC."""

    @classmethod
    def of(cls, listens: pl.DataFrame) -> Histories:
        """Read a log with `user_id`, `track_id` and `played_at` (a time in microseconds).

        Rows are listens, one each, in any order; equal times of a user stay as they come.
        """
        if listens.is_empty():
            raise ValueError("a log without listens has no statistics")
        rows = listens.select(
            pl.col("user_id").rank("dense").cast(pl.Int32) - 1,
            pl.col("track_id").rank("dense").cast(pl.Int32) - 1,
            pl.col("played_at").to_physical().cast(pl.Int64),
        ).sort("user_id", "played_at", maintain_order=True)
        return cls(*(rows[name].to_numpy() for name in rows.columns))

    @cached_property
    def counts(self) -> Ints:
        """Return the listens of each user, [U]."""
        return np.bincount(self.user)

    @cached_property
    def offsets(self) -> Ints:
        """Return where the listens of each user begin, and the end, [U + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def position(self) -> Ints:
        """Return how many listens of the same user come before, [N]."""
        return np.arange(len(self.track)) - self.offsets[self.user]

    @cached_property
    def starts(self) -> Bools:
        """Return whether a listen opens a session, [N]."""
        return is_session_start(self.at, previous_times(self.offsets, self.at))

    @cached_property
    def user_track(self) -> Ints:
        """Return a number for the pair of user and track, [N]."""
        # Codes are 32 bits wide to keep the log small: a pair of them needs 64.
        return self.user.astype(np.int64) * (int(self.track.max()) + 1) + self.track

    @cached_property
    def since(self) -> Ints:
        """Return how many listens ago the user heard the same track, 0 where never before, [N]."""
        return _listens_since(self.user_track)


def describe(log: pl.DataFrame | Histories) -> Statistics:
    """Return the statistics of a log, for whose columns see `Histories.of`."""
    log = log if isinstance(log, Histories) else Histories.of(log)
    user, track, at, counts, user_track = log.user, log.track, log.at, log.counts, log.user_track
    known, old, late = log.since > 0, log.since > RECENT, log.position >= RECENT
    early = (log.position < FIRST_LISTENS) & (counts[user] >= FIRST_LISTENS)
    train = at <= np.quantile(at, TRAIN_SHARE, method="lower")
    hours = np.bincount(at // _HOUR_US % 24, minlength=24)
    weekdays = np.bincount((at // _DAY_US + _MONDAY) % 7, minlength=7)
    follows = np.flatnonzero(~log.starts)
    return replace(
        _session_statistics(track, log.starts, train),
        users=len(counts),
        days=float(at.max() - at.min()) / _DAY_US,
        listens_median=float(np.median(counts)),
        listens_p90=float(np.quantile(counts, 0.9)),
        listens_gini=gini(counts),
        repeat_share=float(known.mean()),
        repeat_share_first=_mean(known[early]),
        repeat_old=_mean(old[late]),
        start_old=_mean(old[late & log.starts]),
        follower_personal=_follower_hits(user_track[follows - 1], track[follows], train[follows]),
        new_tracks=_mean(~np.isin(track[~train], track[train])),
        hour_entropy=_entropy(hours) / math.log(24),
        hour_peak_to_trough=_peak_to_trough(hours),
        hour_personal=_hour_concentration(user, at, counts),
        weekday_peak_to_trough=_peak_to_trough(weekdays),
    )


def describe_sessions(session: Ints, track: Ints) -> Statistics:
    """Return what sessions without users and times tell.

    Args:
        session: [N] ascending, in order of time.
        track: [N] whole numbers from 0, in the order of each session.
    """
    starts = np.append(True, session[1:] != session[:-1])
    train = np.arange(len(track)) < TRAIN_SHARE * len(track)
    return _session_statistics(track, starts, train)


def zipf_exponent(counts: Ints) -> float:
    """Return the exponent s under which counts of tracks are most likely if rank r has a share of r^-s / Σ r^-s.

    The maximum-likelihood fit of a discrete power law (Clauset, Shalizi and Newman, SIAM Review 51(4), 2009, section
    3.1) with the sum over the tracks of the log in place of the zeta function, as their number is finite. Ranks are
    those of the same counts, so that a short log overstates s a little (Piantadosi, Psychonomic Bulletin & Review
    21(5), 2014). 0 where all counts are alike; at most 10.
    """
    counts = np.sort(counts[counts > 0])[::-1]
    log_rank = np.log(np.arange(1, len(counts) + 1))
    seen = float(counts @ log_rank) / float(counts.sum())
    low, high = 0.0, 10.0
    # The mean log rank falls as s grows: halve the interval until it is that of the counts.
    for _ in range(60):
        middle = (low + high) / 2
        weight = np.exp(-middle * log_rank)
        low, high = (middle, high) if weight @ log_rank / weight.sum() > seen else (low, middle)
    return (low + high) / 2


def gini(counts: Ints) -> float:
    """Return the Gini coefficient of non-negative counts: the mean difference of two, by twice their mean."""
    rank = np.arange(1, len(counts) + 1)
    return float((2 * rank - len(counts) - 1) @ np.sort(counts)) / (len(counts) * float(counts.sum()))


def _session_statistics(track: Ints, starts: Bools, train: Bools) -> Statistics:
    lengths = np.diff(np.append(np.flatnonzero(starts), len(starts)))
    counts = np.sort(np.bincount(track))[::-1]
    counts = counts[counts > 0]
    follows = np.flatnonzero(~starts)
    return Statistics(
        listens=len(track),
        tracks=len(counts),
        sessions=len(lengths),
        session_mean=float(lengths.mean()),
        session_median=float(np.median(lengths)),
        session_p90=float(np.quantile(lengths, 0.9)),
        session_single=float((lengths == 1).mean()),
        zipf=zipf_exponent(counts),
        top_tenth=float(counts[: -(-len(counts) // 10)].sum() / len(track)),
        same_again=_mean(track[follows] == track[follows - 1]) or 0.0,
        follower_global=_follower_hits(track[follows - 1], track[follows], train[follows]) or 0.0,
    )


def _listens_since(key: Ints) -> Ints:
    """Return for each listen how many places back the same (user, track) stands, 0 where it is the first."""
    order = np.argsort(key, kind="stable")
    same = key[order[1:]] == key[order[:-1]]
    since = np.zeros(len(key), np.int64)
    since[order[1:][same]] = (order[1:] - order[:-1])[same]
    return since


def _follower_hits(key: Ints, following: Ints, train: Bools) -> float | None:
    """Share of the rows that are not `train` whose key's most frequent follower in the others is theirs.

    Of followers that are equally frequent the lowest is taken.
    """
    rows = pl.DataFrame({"key": key, "next": following, "train": train})
    counts = rows.filter("train").group_by("key", "next").len()
    best = counts.sort(["key", "len", "next"], descending=[False, True, False]).unique(
        "key", keep="first", maintain_order=True
    )
    test = rows.filter(~pl.col("train")).join(best.select("key", pl.col("next").alias("best")), on="key", how="left")
    return _mean((test["next"] == test["best"]).fill_null(False).to_numpy())


def _hour_concentration(user: Ints, at: Ints, counts: Ints) -> float | None:
    angle = 2 * np.pi * (at % _DAY_US) / _DAY_US
    east, north = (np.bincount(user, weights=turn(angle)) for turn in (np.cos, np.sin))
    return _mean((np.hypot(east, north) / counts)[counts >= 50])


def _entropy(counts: Ints) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(share @ np.log(1.0 / share))


def _peak_to_trough(counts: Ints) -> float:
    return float(counts.max() / counts.min()) if counts.min() else float("inf")


def _mean(values: Bools | Floats) -> float | None:
    return float(values.mean()) if len(values) else None
