"""Statistics of listening histories: repeats, lengths of sessions, and predictability of the next track.

All are computed from arrays of whole numbers, 16 bytes a listen; apart from temporary copies of them, nothing grows
with the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.features.clock import HOUR_US
from fsvae.features.sessions import is_session_start, previous_times

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RECENT = 128
"""Number of latest listens (L of the default history) beyond which a repeat may need a slow memory."""
TRAIN_SHARE = 0.8
"""Share of the listens, the earliest, from which followers are learned."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of some histories. Shares are between 0 and 1; None where the log does not tell."""

    users: int
    sessions: int
    session_mean: float
    """Mean number of listens in a session, of which none begins more than 30 minutes after the one before
    (`fsvae.features.sessions`)."""
    session_median: float
    session_p90: float
    session_single: float
    """Share of the sessions that are one listen."""
    repeat_share: float
    """Share of the listens to a track that the same user heard before in the log."""
    repeat_old: float | None
    """Share of the listens, from a user's 129th, to a track that the user knows but not from the latest 128 listens."""
    same_again: float
    """Share of the listens within a session, except the first, that repeat the previous track."""
    follower_global: float
    """Share of the last 20 % of the listens (except the first of a session) that the most frequent follower of the
    previous track, counted over all users in the first 80 %, predicts; no follower is a miss."""
    hour_peak_to_trough: float
    """Ratio of the listens in the busiest and the quietest hour of day (UTC)."""


@dataclass(frozen=True)
class Histories:
    """The listens of a log as whole numbers, user after user, each user's in order of time."""

    user: Ints
    """[N] user index, ascending."""
    track: Ints
    """[N] track index."""
    at: Ints
    """[N] time of each listen [us since 1970 UTC]."""

    @classmethod
    def of(cls, listens: pl.DataFrame) -> Histories:
        """Read a log with `user_id`, `track_id` and `played_at` (a time in microseconds).

        Each row is a listen, in any order; listens of a user with equal times keep their order.
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
        """Return the number of listens of each user, [U]."""
        return np.bincount(self.user)

    @cached_property
    def offsets(self) -> Ints:
        """Return the flat position of each user's first listen, and the end, [U + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def n_before(self) -> Ints:
        """Return how many listens of the same user come before, [N]."""
        return np.arange(len(self.track)) - self.offsets[self.user]

    @cached_property
    def starts(self) -> Bools:
        """Return whether a listen opens a session, [N]."""
        return is_session_start(self.at, previous_times(self.offsets, self.at))

    @cached_property
    def user_track(self) -> Ints:
        """Return a number for the pair of user and track, [N]."""
        # Indices are 32 bits wide to save memory: a pair of them needs 64.
        return self.user.astype(np.int64) * (int(self.track.max()) + 1) + self.track

    @cached_property
    def since(self) -> Ints:
        """Return the number of listens since the user last heard the same track, 0 where never before, [N]."""
        order = np.argsort(self.user_track, kind="stable")
        same = self.user_track[order[1:]] == self.user_track[order[:-1]]
        since = np.zeros(len(order), np.int64)
        since[order[1:][same]] = (order[1:] - order[:-1])[same]
        return since

    @cached_property
    def train(self) -> Bools:
        """Return whether a listen is among the earliest, from which followers are learned, [N]."""
        return np.asarray(self.at <= np.quantile(self.at, TRAIN_SHARE, method="lower"))


def describe(log: Histories) -> Statistics:
    """Return the statistics of a log."""
    lengths = np.diff(np.append(np.flatnonzero(log.starts), len(log.starts)))
    follows = np.flatnonzero(~log.starts)
    return Statistics(
        users=len(log.counts),
        sessions=len(lengths),
        session_mean=float(lengths.mean()),
        session_median=float(np.median(lengths)),
        session_p90=float(np.quantile(lengths, 0.9)),
        session_single=float((lengths == 1).mean()),
        repeat_share=float((log.since > 0).mean()),
        repeat_old=mean((log.since > RECENT)[log.n_before >= RECENT]),
        same_again=mean(log.track[follows] == log.track[follows - 1]) or 0.0,
        follower_global=follower_hits(log.track[follows - 1], log.track[follows], log.train[follows]) or 0.0,
        hour_peak_to_trough=peak_to_trough(np.bincount(log.at // HOUR_US % 24, minlength=24)),
    )


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


def follower_hits(key: Ints, following: Ints, train: Bools) -> float | None:
    """Return the share of the rows outside `train` whose follower is the most frequent one of their key within it.

    Of equally frequent followers the lowest is taken.
    """
    rows = pl.DataFrame({"key": key, "next": following, "train": train})
    counts = rows.filter("train").group_by("key", "next").len()
    best = counts.sort(["key", "len", "next"], descending=[False, True, False]).unique(
        "key", keep="first", maintain_order=True
    )
    test = rows.filter(~pl.col("train")).join(best.select("key", pl.col("next").alias("best")), on="key", how="left")
    return mean((test["next"] == test["best"]).fill_null(False).to_numpy())


def peak_to_trough(counts: Ints) -> float:
    """Return the ratio of the largest and the smallest count."""
    return float(counts.max() / counts.min()) if counts.min() else float("inf")


def mean(values: Bools | Floats) -> float | None:
    """Return the mean of some values, or None without values."""
    return float(values.mean()) if len(values) else None
