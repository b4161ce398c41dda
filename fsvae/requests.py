"""Requests in the form that evaluation reads: a dataset of histories, each followed by the requested listen.

So a model's recommendations are the predictions that would be evaluated if the next listen were at that time.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset, Snapshots
from fsvae.data.listens import Listens, in_runs, offsets_of
from fsvae.errors import UserError
from fsvae.features.artists import artist_id_codes, artists_of
from fsvae.features.clock import DAY_US, PAUSE_US
from fsvae.features.habits import habits, snapshot_days
from fsvae.features.recent_days import RecentDays
from fsvae.features.slow import Events
from fsvae.features.taste import DaySums
from fsvae.schema import EARLIEST, LATEST

Time: TypeAlias = str | datetime | pd.Timestamp
"""Point in time; without a time zone it is UTC."""


def time_us(time: Time) -> int:
    """Return a time in microseconds since 1970 UTC.

    Raises:
        UserError: the value is not a time, or not between 1970 and 2100.
    """
    try:
        stamp = pd.Timestamp(time)
    except (ValueError, TypeError) as error:
        raise UserError(f"at={time!r} is not a time such as '2026-02-01T20:00:00+01:00'.") from error
    stamp = stamp.tz_localize(UTC) if stamp.tzinfo is None else stamp.tz_convert(UTC)
    if pd.isna(stamp) or not EARLIEST <= stamp <= LATEST:
        raise UserError(f"at={time!r} is not between {EARLIEST.year} and {LATEST.year}.")
    return int(stamp.value) // 1000  # pandas counts nanoseconds


def listed(ids: Sequence[str], name: str) -> list[str]:
    """Return ids as a list.

    Raises:
        UserError: they are a single text.
    """
    if isinstance(ids, str):
        raise UserError(f"{name}={ids!r} is a single id: write {name}=[{ids!r}].")
    return list(ids)


def check_known(user_ids: Sequence[str], known: Container[str]) -> None:
    """Refuse users that a model does not know.

    Raises:
        UserError: one is not among the known ones.
    """
    for user_id in user_ids:
        if not isinstance(user_id, str):
            raise UserError(
                f"{user_id!r} is not the id of a user: ids are text"
                + (f": write '{user_id}'." if str(user_id) in known else f", and there is no '{user_id}'.")
            )
        if user_id not in known:
            raise UserError(f"{user_id!r} is not a user of the dataset: next_tracks(recent) is for new listeners.")


def recent_listens(recent: Sequence[str] | pd.DataFrame | pl.DataFrame, at: int) -> tuple[list[str], NDArray[np.int64]]:
    """Return the tracks and the times [us] of recent listens.

    Args:
        recent: track ids, oldest first, which are taken to have begun 3.5 minutes apart before the request; or a frame
            with the columns track_id and played_at, in order of time.
        at: time of the request [us].

    Raises:
        UserError: the frame lacks a column, is not in order of time, or goes beyond the request.
    """
    if isinstance(recent, pl.DataFrame):
        recent = recent.to_pandas()
    if not isinstance(recent, pd.DataFrame):
        recent = listed(recent, "recent")
        return recent, at - PAUSE_US * np.arange(len(recent), 0, -1)
    if missing := {"track_id", "played_at"} - set(recent.columns):
        raise UserError(f"recent has no column {', '.join(sorted(missing))}; it has {', '.join(recent.columns)}.")
    times = np.array([time_us(time) for time in recent["played_at"]], dtype=np.int64)
    if (np.diff(times) < 0).any() or (times > at).any():
        raise UserError("recent: played_at must ascend and end no later than `at`.")
    return recent["track_id"].tolist(), times


def requests_of_users(dataset: Dataset, user_ids: Sequence[str], at: int) -> Dataset:
    """Return the histories of some users, each followed by a listen at `at` [us] to no known track.

    Raises:
        UserError: a user is not in the dataset, or has listens after `at`, which recommendations must not use.
    """
    index = {user_id: user for user, user_id in enumerate(dataset.user_ids)}
    check_known(user_ids, index)
    user_R = np.array([index[user_id] for user_id in user_ids], dtype=np.int64)
    listens, snapshots = dataset.listens, dataset.snapshots
    n_R = np.diff(listens.offsets)[user_R]
    last_R = listens.offsets[user_R + 1] - 1
    if (late := listens.played_at[last_R] > at).any():
        user_id = user_ids[int(np.argmax(late))]
        last = pd.Timestamp(listens.played_at[last_R[late][0]], unit="us", tz=UTC).isoformat()
        raise UserError(f"at is before the last listen of {user_id!r}, at {last}: ask from then on.")
    asked = _with_requests(_taken(listens, user_R, n_R), len(dataset.tracks), at)

    day = at // DAY_US
    first_S = np.searchsorted(snapshots.user, user_R)
    n_S = np.searchsorted(snapshots.user, user_R + 1) - first_S
    row_S = in_runs(first_S, n_S)
    user_S, day_S = np.repeat(np.arange(len(user_R)), n_S), snapshots.day[row_S]
    kept = day_S <= day
    lacking = np.setdiff1d(np.arange(len(user_R)), user_S[day_S == day])
    first_day = listens.played_at[listens.offsets[user_R]] // DAY_US
    made = dataset.recent.habits(user_R[lacking], first_day[lacking], np.full(len(lacking), day))
    return _dataset(
        dataset,
        [dataset.user_ids[user] for user in user_R],
        asked,
        np.concatenate([user_S[kept], lacking]),
        np.concatenate([day_S[kept], np.full(len(lacking), day)]),
        np.concatenate([snapshots.habits[row_S][kept], made]),
    )


def request_of_listener(dataset: Dataset, tracks: Sequence[str], played_at: NDArray[np.int64], at: int) -> Dataset:
    """Return the listens of a listener who is not in the dataset, followed by one at `at` [us] to no known track.

    A track that the dataset does not know counts as a listen, but carries no taste.
    """
    index = {track_id: track for track, track_id in enumerate(dataset.tracks["track_id"])}
    track = np.array([index.get(track_id, len(index)) for track_id in tracks], dtype=np.int32)
    listens = Listens(np.array([0, len(track)]), track, played_at, np.ones(len(track), dtype=np.float32))
    asked = _with_requests(listens, len(index), at)
    artist = artists_of(artist_id_codes(dataset.tracks), track.astype(np.int64))
    user = np.zeros(len(track), dtype=np.int64)
    events = Events(user, track.astype(np.int64), artist, np.zeros(len(track), dtype=np.int8), played_at)
    user_S, day_S = snapshot_days(np.zeros(len(asked), dtype=np.int64), asked.played_at)
    return _dataset(dataset, [""], asked, user_S, day_S, habits(events, user_S, day_S))


def _taken(listens: Listens, user_R: NDArray[np.int64], n_R: NDArray[np.int64]) -> Listens:
    flat = in_runs(listens.offsets[user_R], n_R)
    return Listens(offsets_of(n_R), listens.track[flat], listens.played_at[flat], listens.played_fraction[flat])


def _with_requests(listens: Listens, track: int, at: int) -> Listens:
    ends = listens.offsets[1:]
    return Listens(
        listens.offsets + np.arange(len(listens.offsets)),
        np.insert(listens.track, ends, track),
        np.insert(listens.played_at, ends, at),
        np.insert(listens.played_fraction, ends, 1.0),
    )


def _dataset(
    dataset: Dataset,
    user_ids: list[str],
    listens: Listens,
    user_S: NDArray[np.int64],
    day_S: NDArray[np.int64],
    habits_SH: NDArray[np.float32],
) -> Dataset:
    order = np.lexsort((day_S, user_S))
    sums = DaySums.of(listens.user, listens.track, listens.played_at, dataset.vectors)
    first_heard_at = np.minimum(dataset.first_heard_at, listens.first_heard_at(dataset.n_tracks))
    snapshots = Snapshots(user_S[order], day_S[order], habits_SH[order], sums)
    none = np.zeros(0, dtype=np.int64)
    return replace(
        dataset,
        user_ids=user_ids,
        listens=listens,
        snapshots=snapshots,
        slow_row=snapshots.rows_of(listens.user, listens.played_at // DAY_US),
        recent=RecentDays(none, none, dataset.recent.counts_GC[:0]),
        known_first_heard_at=first_heard_at,
    )
