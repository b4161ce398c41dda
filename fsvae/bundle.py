"""A trained model as a directory: safetensors + JSON + Parquet. Nothing in it is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fsvae.data.dataset import Dataset, list_matrix
from fsvae.data.listens import in_runs, offsets_of
from fsvae.errors import UserError
from fsvae.features.artists import artist_id_codes, artists_of
from fsvae.features.clock import DAY_US
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.features.habits import OTHER_KINDS, habits
from fsvae.features.recent_days import RECENT_COUNTS, RecentDays
from fsvae.features.slow import HABITS, HALF_LIVES_DAYS, WINDOW_DAYS, Events
from fsvae.features.taste import DaySums
from fsvae.memory.shared import SharedTables, read_tables, write_tables
from fsvae.memory.supports import remember
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.models.online_state import NOTHING, Heard, UserState
from fsvae.models.predict import user_states
from fsvae.schema import KINDS, SCHEMA_VERSION

_FEATURES = {
    "listen": list(LISTEN_FEATURES),
    "request": list(REQUEST_FEATURES),
    "habits": list(HABITS),
    "half_lives_days": list(HALF_LIVES_DAYS),
    "recent_counts": list(RECENT_COUNTS),
}


@dataclass(frozen=True)
class Bundle:
    """A model, its catalogue, and the states of its users after their last listens in its dataset."""

    model: FSVAENetwork
    tracks: pl.DataFrame
    """All tracks (`schema.DATASET_TRACKS`), by track index: the catalogue, others with a vector, all others."""
    info: dict[str, Any]
    """Settings and origin of the model, as `bundle.json` holds them."""
    _users: dict[str, int]
    _n_listens: NDArray[np.int64]
    _last_played_at: NDArray[np.int64]
    _slow_last_day: NDArray[np.float32]
    _first_listen_day: NDArray[np.int64]
    _recent: RecentDays
    _recent_track: NDArray[np.int32]
    _recent_offsets: NDArray[np.int64]
    _states: NDArray[np.float32]
    _heard: list[Heard]
    """What each user has heard; without track records for a model without a memory."""
    shared: SharedTables | None
    """Everybody's counts at the end of the dataset; None for a model without a memory. A request about an earlier time
    reads them too."""
    _snapshots: dict[int, tuple[int, NDArray[np.float32]]] = field(default_factory=dict)
    """Row of a user → the day asked for last, and the slow snapshot as of it: requests of one day share it."""

    @property
    def track_ids(self) -> list[str]:
        """Return the ids of all tracks in order of track index."""
        return self.tracks["track_id"].to_list()

    def __contains__(self, user_id: object) -> bool:
        """Return whether the bundle knows a user."""
        return user_id in self._users

    @property
    def user_ids(self) -> list[str]:
        """Return the users that the bundle knows."""
        return list(self._users)

    @property
    def validation_learned(self) -> bool:
        """Return whether the model has learned from the validation period too (`train.refit`)."""
        return bool(self.info["train_until_us"] == self.info["validation_until_us"])

    def learned_until(self, period: str) -> int:
        """Return the time [us] before which listens have shaped the model (for the test period, its selection too)."""
        return int(self.info["train_until_us" if period == "validation" else "validation_until_us"])

    @property
    def until(self) -> int:
        """Return the end [us] of the days that the bundle's dataset holds."""
        return int(self.info["as_of_day"]) * DAY_US

    def last_played_at(self, user_id: str) -> int | None:
        """Return the time [us] of a user's last listen, or None for a user that is not known."""
        row = self._users.get(user_id)
        return None if row is None else int(self._last_played_at[row])

    def slow(self, user_ids: Sequence[str], at: Sequence[int]) -> list[NDArray[np.float32] | None]:
        """Return the slow snapshot of each of some users, [slow features], or None for one that is not known.

        A snapshot is the one that evaluation would read for a listen at the user's time `at` [us]: that as of 00:00 UTC
        of its day. Before the day of the last listen it is the snapshot of that day, as no older one is kept.
        """
        asked = [(self._users.get(user_id), one // DAY_US) for user_id, one in zip(user_ids, at, strict=True)]
        found = {(row, day): self._kept_snapshot(row, day) for row, day in asked if row is not None}
        if lacking := [one for one, snapshot in found.items() if snapshot is None]:
            row_S, day_S = np.ascontiguousarray(np.array(lacking).T)
            for (row, day), made in zip(lacking, self._made(row_S, day_S), strict=True):
                made = made.copy()  # a view would keep those of all others in memory
                found[row, day] = made
                self._snapshots[row] = day, made
        return [None if row is None else np.array(found[row, day]) for row, day in asked]

    def _kept_snapshot(self, row: int, day: int) -> NDArray[np.float32] | None:
        """Return the slow snapshot of a user, by row, as of a day; None if it has to be made."""
        if day <= self._last_played_at[row] // DAY_US:
            return np.asarray(self._slow_last_day[row])
        made = self._snapshots.get(row)
        return None if made is None or made[0] != day else made[1]

    def state(self, user_id: str) -> UserState | None:
        """Return a user's fast state after the last listen, or None for a user that is not known."""
        row = self._users.get(user_id)
        if row is None:
            return None
        states = [torch.from_numpy(state.copy())[:, None] for state in self._states[row]]
        current, following = (states[0], states[1]), (states[2], states[3])
        heard = self._heard[row] if self.model.has_memory else NOTHING
        return UserState(int(self._n_listens[row]), int(self._last_played_at[row]), current, following, heard)

    def heard(self, user_id: str) -> NDArray[np.int32]:
        """Return the tracks that a user has heard, in order of time; none for a user that is not known."""
        row = self._users.get(user_id)
        return NOTHING.track if row is None else self._heard[row].track

    def live_snapshot(
        self,
        user_id: str | None,
        track: NDArray[np.int32],
        played_at: NDArray[np.int64],
        day: int,
        others: tuple[NDArray[np.int8], NDArray[np.int64]],
    ) -> NDArray[np.float32] | None:
        """Return the slow snapshot of a user who went on listening, as of a day, [slow features].

        Args:
            user_id: user, who need not be known; None: one of whom the bundle's memory is forgotten.
            track: [N] track index of the listens since the user's last one in the bundle.
            played_at: [N] their times [us since 1970 UTC], ascending.
            day: day of the snapshot [days since 1970 UTC], after that of the user's last listen in the bundle.
            others: kinds (indices in KINDS) and times [us] of the events since then that are no listens.

        Returns:
            None where no event is before the day.
        """
        row = None if user_id is None else self._users.get(user_id)
        heard = NOTHING if row is None else self._heard[row]
        track, played_at = np.append(heard.track, track), np.append(heard.played_at, played_at)
        before = int(np.searchsorted(played_at, day * DAY_US))
        track, played_at = track[:before], played_at[:before]
        if not before and not len(others[0]):
            return None
        kind, at = self._others(row)
        other_kind, other_at = np.append(kind, others[0]), np.append(at, others[1])
        order = np.argsort(np.append(played_at, other_at), kind="stable")
        events = Events(
            user=np.zeros(before + len(other_at), dtype=np.int64),
            track=np.append(track.astype(np.int64), np.zeros_like(other_at))[order],
            artist=np.append(artists_of(self._artists, track.astype(np.int64)), np.full_like(other_at, -1))[order],
            kind=np.append(np.full(before, KINDS.index("listen"), dtype=np.int8), other_kind)[order],
            played_at=np.append(played_at, other_at)[order],
        )
        one, on = np.zeros(1, dtype=np.int64), np.array([day])
        window = slice(int(np.searchsorted(played_at, (day - WINDOW_DAYS) * DAY_US)), None)
        sums = DaySums.of(events.user[:before][window], self._placed(track[window]), played_at[window], self.vectors)
        return np.concatenate([habits(events, one, on)[0], sums.taste(one, on)[0]])

    def _others(self, row: int | None) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """Return the kinds and the days [us] of a user's recent events that are no listens."""
        rows = np.zeros(0, dtype=np.int64) if row is None else in_runs(*self._recent.rows(np.array([row])))
        counts_GK = self._recent.counts_GC[rows][:, [RECENT_COUNTS.index(kind) for kind in OTHER_KINDS]]
        day_GK, kind_GK = np.broadcast_arrays(
            self._recent.day_G[rows, None], np.array([KINDS.index(kind) for kind in OTHER_KINDS], dtype=np.int8)
        )
        return np.repeat(kind_GK.ravel(), counts_GK.ravel()), np.repeat(day_GK.ravel(), counts_GK.ravel()) * DAY_US

    def _placed(self, track: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return tracks, of which those without a vector have the number of none."""
        if not len(self.model.unplaced):
            return track
        return np.where(np.isin(track, self.model.unplaced.numpy()), np.int32(len(self.vectors)), track)

    @cached_property
    def _artists(self) -> NDArray[np.int32]:
        """Return the artist of each track as events name it, [T]; -1 without one."""
        return artist_id_codes(self.tracks)

    def _made(self, row_S: NDArray[np.int64], day_S: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the slow snapshots of users, by row, as of days after those of their last listens."""
        recent, (begin_S, n_S) = self._recent, self._recent.rows(row_S)
        days = in_runs(begin_S, n_S)
        listens = recent.listens[days].astype(np.int64)
        track = self._recent_track[in_runs(self._recent_offsets[days], listens)]
        snapshot = np.repeat(np.repeat(np.arange(len(row_S)), n_S), listens)
        played_at = np.repeat(recent.day_G[days], listens) * DAY_US
        sums = DaySums.of(snapshot, self._placed(track), played_at, self.vectors)
        habits_SH = recent.habits(row_S, self._first_listen_day[row_S], day_S)
        return np.concatenate([habits_SH, sums.taste(np.arange(len(row_S)), day_S)], axis=1)

    @property
    def last_listen_at(self) -> int:
        """Return the time [us] of the last listen of all users."""
        return int(self._last_played_at.max())

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Return the vectors of the first V tracks, [V, D]."""
        return self.model.tracks[:-1].numpy()

    def view(self, dataset: Dataset) -> Dataset:
        """Return a dataset in the model's track space."""
        return dataset.in_space_of(self.tracks, self.vectors)


def save_bundle(path: Path, model: FSVAENetwork, dataset: Dataset, info: dict[str, Any]) -> None:
    """Write a bundle: the model, its catalogue, and the state of every user of the dataset after the last listen.

    Args:
        path: a folder, made if it is missing.
        model: the trained model.
        dataset: the dataset it was trained on; of a second fit, `Dataset.with_validation_learned`.
        info: JSON values to keep beside the model.
    """
    path.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path / "model.safetensors")
    dataset.tracks.write_parquet(path / "tracks.parquet")

    states = user_states(model, dataset)
    parts = [*states.current, *states.following]  # each [layers, U, H]
    flat = torch.stack(parts).permute(2, 0, 1, 3).reshape(len(dataset.user_ids), -1).numpy()
    listens, recent = dataset.listens, dataset.recent
    first, last = listens.offsets[:-1], listens.offsets[1:] - 1
    day_offsets = np.searchsorted(recent.user_G, np.arange(len(dataset.user_ids) + 1))
    track_offsets = offsets_of(recent.listens)[day_offsets]
    # A user's recent days hold the last of the user's listens.
    n_recent = np.diff(track_offsets)
    recent_track = listens.track[in_runs(listens.offsets[1:] - n_recent, n_recent)]
    pl.DataFrame(
        {
            "user_id": dataset.user_ids,
            "n_listens": states.n_listens,
            "last_played_at_us": listens.played_at[last],
            "first_listen_day": listens.played_at[first] // DAY_US,
            "slow_last_day": dataset.snapshots.features(dataset.slow_row[last]),
            "recent_day": _lists(day_offsets, recent.day_G.astype(np.int32)),
            "recent_counts": _lists(day_offsets * len(RECENT_COUNTS), _narrow(recent.counts_GC).ravel()),
            "recent_track": _lists(track_offsets, recent_track),
            "states": flat,
        }
    ).write_parquet(path / "users.parquet")
    _save_heard(path, dataset, model.has_memory)
    (path / "bundle.json").write_text(
        json.dumps(
            info
            | {
                "schema_version": SCHEMA_VERSION,
                "model": asdict(model.config),
                "n_catalogue": model.n_catalogue,
                "features": _FEATURES,
                "dataset": dataset.fingerprint,
                "as_of_day": dataset.manifest["as_of_day"],
                "train_until_us": dataset.manifest["train_until_us"],
                "validation_until_us": dataset.manifest["validation_until_us"],
                "min_count": dataset.manifest["config"]["min_count"],
            },
            indent=2,
            sort_keys=True,
        )
        + "\n"
    )


def _save_heard(path: Path, dataset: Dataset, has_memory: bool) -> None:
    """Write what each user has heard and, for a model with a memory, everybody's counts, both after all listens."""
    listens, end = dataset.listens, int(dataset.listens.played_at.max()) + 1
    sums = np.zeros((len(dataset.user_ids), NOTHING.records.size))
    if has_memory:
        remembered = remember(dataset, [end])
        write_tables(path / "memory.safetensors", remembered.tables[-1][1])
        sums = remembered.records_U.reshape(sums.shape)
    pl.DataFrame(
        {
            "track": _lists(listens.offsets, listens.track),
            "played_at_us": _lists(listens.offsets, listens.played_at),
            "records": sums,
        }
    ).write_parquet(path / "heard.parquet")


def _load_heard(path: Path) -> list[Heard]:
    table = pl.read_parquet(path / "heard.parquet")
    offsets = offsets_of(table["track"].list.len().to_numpy())
    track, played_at = _flat(table["track"]), _flat(table["played_at_us"])
    records = table["records"].to_numpy().reshape(len(table), *NOTHING.records.shape)
    return [
        Heard(track[begin:end], played_at[begin:end], sums)
        for (begin, end), sums in zip(pairwise(offsets), records, strict=True)
    ]


def _narrow(counts: NDArray[np.int32]) -> NDArray[Any]:
    """Return numbers from 0 on in the smallest type that holds them, as a bundle is kept in memory."""
    return counts.astype(np.min_scalar_type(counts.max(initial=0)))


def _lists(offsets: NDArray[np.int64], values: NDArray[Any]) -> pl.Series:
    return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))))


def load_bundle(path: Path) -> Bundle:
    """Open a bundle.

    Raises:
        UserError: it is not a bundle, or one of another schema version or other features.
    """
    if not (path / "bundle.json").exists():
        raise UserError(f"{path}: no bundle there (bundle.json is missing). Train one: fsvae train.")
    info = json.loads((path / "bundle.json").read_text())
    if info.get("schema_version") != SCHEMA_VERSION or info.get("features") != _FEATURES:
        raise UserError(f"{path}: the bundle was made by another version of fsvae. Train again: fsvae train.")
    weights = load_file(path / "model.safetensors")
    try:
        config = ModelConfig(**info["model"])
        model = FSVAENetwork(
            config,
            weights["tracks"][:-1],
            weights["slow.mean"],
            weights["slow.std"],
            info["n_catalogue"],
        )
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path}: the model is not one of this version's. Train again: fsvae train.") from error
    users = pl.read_parquet(path / "users.parquet")
    lstm = model.fast.lstm
    recent = RecentDays(
        user_G=np.repeat(np.arange(len(users)), users["recent_day"].list.len().to_numpy()),
        day_G=_flat(users["recent_day"]).astype(np.int64),
        counts_GC=_flat(users["recent_counts"]).reshape(-1, len(RECENT_COUNTS)),
    )
    return Bundle(
        model=model.eval(),
        tracks=pl.read_parquet(path / "tracks.parquet"),
        info=info,
        _users={user_id: row for row, user_id in enumerate(users["user_id"])},
        _n_listens=users["n_listens"].to_numpy(),
        _last_played_at=users["last_played_at_us"].to_numpy(),
        _slow_last_day=list_matrix(users["slow_last_day"]),
        _first_listen_day=users["first_listen_day"].to_numpy(),
        _recent=recent,
        _recent_track=_flat(users["recent_track"]),
        _recent_offsets=offsets_of(recent.listens),
        _states=list_matrix(users["states"]).reshape(len(users), 4, lstm.num_layers, lstm.hidden_size),
        _heard=_load_heard(path),
        shared=read_tables(path / "memory.safetensors") if model.has_memory else None,
    )


def _flat(column: pl.Series) -> NDArray[Any]:
    """Return the elements of all lists of a column, list after list."""
    return column.explode(empty_as_null=False).to_numpy()
