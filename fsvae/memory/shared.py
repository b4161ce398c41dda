"""Everybody's memory as of a time: tables of what followed what, and popularity.

Training reads it in blocks of time, each as of its begin, so that it is as stale there as it is when it is evaluated
or served: with counts up to the moment the gates would learn to trust it too much.

Legend: N listens, X contexts, T tracks, P popularity experts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from fsvae.data.history import NO_KEY, tracks_before
from fsvae.data.listens import Listens
from fsvae.features.artists import artists_of
from fsvae.features.clock import DAY_US
from fsvae.features.sessions import pause_buckets
from fsvae.memory.contexts import NEAR, NEIGHBOURS, RECENT_DAYS, SHARED, SharedContext
from fsvae.memory.count_table import CountTable, key_of
from fsvae.memory.neighbours import Sessions, Votes

_SESSIONS = "sessions"


@dataclass
class SharedMemory:
    """Everybody's counts of some listens, which are added part by part."""

    listens: Listens
    """All listens."""
    artist_T: NDArray[np.int32]
    """Artist of each track that is counted, NO_KEY where it is not known."""
    counts: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Name of a table → frame of key, track and count."""
    heard_T: NDArray[np.float64] = field(init=False)
    """Number of listens to each track."""
    lately_T: NDArray[np.float64] = field(init=False)
    """The same with a half-life of RECENT_DAYS, as of `until`."""
    sessions: Sessions = field(init=False)
    """Sessions of the listens that have been added."""
    until: int = 0
    """Time [us] up to which listens have been added; 0: none."""

    @property
    def n_tracks(self) -> int:
        """Return the number of tracks that are counted, T."""
        return len(self.artist_T)

    def __post_init__(self) -> None:
        """Begin with no listens."""
        self.heard_T, self.lately_T = np.zeros(self.n_tracks), np.zeros(self.n_tracks)
        self.sessions = Sessions.of(self.listens, self.n_tracks, np.iinfo(np.int64).min)

    def add(self, rows: NDArray[np.int64], until: int) -> None:
        """Count more listens.

        Args:
            rows: flat positions of those to add: all from the last call's `until` on that are before this one's.
            until: time [us]; later than that of the last call.
        """
        listens = self.listens
        track = listens.track.astype(np.int64)
        for name, (key, follower) in _events(listens, rows, self.artist_T).items():
            kept = (key != NO_KEY) & (follower != NO_KEY) & (follower < self.n_tracks)
            new = pl.DataFrame({"key": key[kept], "track": follower[kept].astype(np.int32)})
            new = new.group_by("key", "track").agg(pl.len().cast(pl.Float32).alias("count"))
            if name in self.counts:
                new = pl.concat([self.counts[name], new]).group_by("key", "track").agg(pl.col("count").sum())
            self.counts[name] = new
        heard, at = track[rows], listens.played_at[rows]
        known = heard < self.n_tracks
        fading = 0.5 ** ((until - at[known]) / DAY_US / RECENT_DAYS)
        self.lately_T *= 0.5 ** ((until - self.until) / DAY_US / RECENT_DAYS) if self.until else 1.0
        self.lately_T += np.bincount(heard[known], fading, minlength=self.n_tracks)
        self.heard_T += np.bincount(heard[known], minlength=self.n_tracks)
        self.sessions, self.until = replace(self.sessions, until=until), until

    def tables(self) -> SharedTables:
        """Return the counts so far, ready to be looked up."""
        names = {shared.table for shared in SHARED}
        empty = pl.DataFrame(schema={"key": pl.Int64, "track": pl.Int32, "count": pl.Float32})
        return SharedTables(
            {name: CountTable.of(self.counts.get(name, empty)) for name in sorted(names)},
            np.stack([self.heard_T, self.lately_T, self.heard_T > 0]).astype(np.float32),
            self.sessions,
            self.artist_T,
        )


def asked_keys(listens: Listens, rows: NDArray[np.int64], artist_T: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the key that the listens at some flat positions ask for in each context of SHARED, [N] each."""
    before = {lag: tracks_before(listens, lag, rows) for lag in range(1, NEAR)}
    artist = artists_of(artist_T, before[1])
    pause = pause_buckets(listens.played_at[rows], listens.previous_at[rows])

    def key(shared: SharedContext) -> NDArray[np.int64]:
        return key_of([*(before[lag] for lag in shared.lags), *([pause] if shared.by_pause else [])])

    return [artist if shared.by_artist else key(shared) for shared in SHARED]


def _events(
    listens: Listens, rows: NDArray[np.int64], artist_T: NDArray[np.int32]
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the keys and the followers that the listens at some flat positions add: name of the table → both.

    A listen follows what it asks for, but in three tables: in "before 1" the listen is the key and the track before it
    the follower; in "near" each of two tracks within NEAR listens follows the other; in "of artist" a track follows its
    own artist.
    """
    track = listens.track.astype(np.int64)[rows]
    before = [tracks_before(listens, lag, rows) for lag in range(1, NEAR + 1)]
    here = np.tile(track, NEAR)
    asked = zip(SHARED, asked_keys(listens, rows, artist_T), strict=True)
    return {shared.table: (key, track) for shared, key in asked} | {
        "before 1": (track, before[0]),
        "near": (np.concatenate([here, *before]), np.concatenate([*before, here])),
        "of artist": (artists_of(artist_T, track), track),
    }


@dataclass(frozen=True)
class SharedTables:
    """Everybody's counts as of a time, ready to be looked up."""

    tables: dict[str, CountTable]
    """Name of a table → its counts."""
    popular_PT: NDArray[np.float32]
    """Weight of each track, for each of `contexts.POPULARITY`."""
    sessions: Sessions
    """Sessions before that time."""
    artist_T: NDArray[np.int32]
    """Artist of each track, NO_KEY where it is not known."""

    @property
    def n_tracks(self) -> int:
        """Return the number of tracks, T; a listen to one from T on is not counted."""
        return int(self.popular_PT.shape[1])

    @cached_property
    def _popular(self) -> NDArray[np.float32]:
        """Return the sum of the weights, the number of tracks and the share of the first one, for each, [P, 3]."""
        total = self.popular_PT.sum(axis=1)
        top = self.popular_PT.max(axis=1, initial=0) / np.maximum(total, 1e-9)
        return np.stack([total, (self.popular_PT > 0).sum(axis=1), top], axis=1).astype(np.float32)

    @property
    def heard(self) -> NDArray[np.bool_]:
        """Return whether anybody had heard each track, [T]."""
        return np.asarray(self.popular_PT[0] > 0)

    def supports(
        self,
        listens: Listens,
        rows: NDArray[np.int64],
        places: Sequence[NDArray[np.int64]],
        votes: Votes | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return what everybody's memory held for the listens at some flat positions, [N, X] each.

        Args:
            listens: all listens.
            rows: [N] flat positions.
            places: `places` of them.
            votes: votes of the neighbours before them, where they are known already.

        Returns:
            Total count of all followers, count of the listen's own track, number of distinct followers, and share of
            the most frequent one. Contexts are those of SHARED, of NEIGHBOURS, and of POPULARITY.
        """
        n, contexts = len(rows), len(SHARED) + len(NEIGHBOURS) + len(self.popular_PT)
        total, count, distinct, top = (np.zeros((n, contexts), dtype=np.float32) for _ in range(4))
        track = listens.track[rows].astype(np.int64)
        for x, place in enumerate(places):
            table = self.tables[SHARED[x].table]
            has = place >= 0
            found = place[has]
            total[has, x], top[has, x] = table.total_U[found], table.top_U[found]
            distinct[has, x] = table.begin_U[found + 1] - table.begin_U[found]
            table.look_up(place, track, count[:, x])
        of_neighbours = self.sessions.supports(listens, rows) if votes is None else votes.supports(track)
        for whole, part in zip((total, count, distinct, top), of_neighbours, strict=True):
            whole[:, len(SHARED) : -len(self.popular_PT)] = part
        known = track < self.n_tracks
        for p, popular_T in enumerate(self.popular_PT):
            x = len(SHARED) + len(NEIGHBOURS) + p
            total[:, x], distinct[:, x], top[:, x] = self._popular[p]
            count[known, x] = popular_T[track[known]]
        return total, count, distinct, top

    def places(self, listens: Listens, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return where each context of the listens at some flat positions is in its table.

        Returns:
            For each context of SHARED a place in `CountTable.key_U`, [N]; -1 where it is not in the table.
        """
        asked = zip(SHARED, asked_keys(listens, rows, self.artist_T), strict=True)
        return [self.tables[shared.table].rows(key) for shared, key in asked]

    def add_rows(
        self,
        places: Sequence[NDArray[np.int64]],
        votes: Votes,
        weight_NX: NDArray[np.float32],
        less_NX: NDArray[np.float32],
        out_NT: NDArray[np.float32],
    ) -> None:
        """Add everybody's part of the mixture's p(track), for every track before some listens.

        Args:
            places: `places` of them.
            votes: votes of the neighbours before them.
            weight_NX: weight of a count: the expert's gate over its total; each context has one expert.
            less_NX: what each counted track of a context loses: the gate times the discount over the total.
            out_NT: probabilities, added to.
        """
        for x, place in enumerate(places):
            self.tables[SHARED[x].table].add_rows(place, weight_NX[:, x], less_NX[:, x], out_NT)
        of_neighbours, of_popularity = np.split(weight_NX[:, len(SHARED) :], [len(NEIGHBOURS)], axis=1)
        votes.add_rows(of_neighbours, out_NT)
        out_NT += of_popularity @ self.popular_PT

    def candidates(
        self, places: Sequence[NDArray[np.int64]], votes: Votes, candidate_NK: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return everybody's counts of some candidates before some listens, [N, K, X].

        Contexts are those of SHARED, of NEIGHBOURS, and of POPULARITY; arguments as in `add_rows`.
        """
        n, k = candidate_NK.shape
        count = np.zeros((len(SHARED), n * k), dtype=np.float32)
        for x, place in enumerate(places):
            self.tables[SHARED[x].table].look_up(np.repeat(place, k), candidate_NK.ravel(), count[x])
        of_shared = np.moveaxis(count.reshape(len(SHARED), n, k), 0, 2)
        of_neighbours = votes.candidates(candidate_NK, self.n_tracks)
        return np.concatenate([of_shared, of_neighbours, np.moveaxis(self.popular_PT[:, candidate_NK], 0, 2)], axis=2)


def write_tables(path: Path, tables: SharedTables) -> None:
    """Write everybody's counts as safetensors, which `read_tables` opens."""
    arrays = {f"{name}/{part}": array for name, table in tables.tables.items() for part, array in asdict(table).items()}
    sessions = asdict(tables.sessions.pruned())
    until = sessions.pop("until")
    arrays |= {f"{_SESSIONS}/{part}": array for part, array in sessions.items()}
    arrays |= {"popular_PT": tables.popular_PT, "artist_T": tables.artist_T, "until": np.array([until])}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_tables(path: Path) -> SharedTables:
    """Read everybody's counts from a file of `write_tables`."""
    parts = load_file(path)
    popular, artist, until = (parts.pop(name) for name in ("popular_PT", "artist_T", "until"))
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, array in parts.items():
        table, column = name.split("/")
        found[table][column] = array
    sessions = Sessions(**found.pop(_SESSIONS), until=until.item())
    return SharedTables({name: CountTable(**found[name]) for name in sorted(found)}, popular, sessions, artist)
