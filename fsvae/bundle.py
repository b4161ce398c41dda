"""A trained model as a directory: safetensors + JSON + Parquet. Nothing in it is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fsvae.data.dataset import PreparedDataset, list_matrix
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.features.slow import HABITS, HALF_LIVES_DAYS
from fsvae.models.fsvae import FSVAE
from fsvae.models.model_config import ModelConfig
from fsvae.models.online_state import UserState
from fsvae.models.predict import Rings, user_states
from fsvae.schema import SCHEMA_VERSION

_FEATURES = {
    "listen": list(LISTEN_FEATURES),
    "request": list(REQUEST_FEATURES),
    "habits": list(HABITS),
    "half_lives_days": list(HALF_LIVES_DAYS),
}


@dataclass(frozen=True)
class Bundle:
    """A model, its catalogue, and its users as of the end of its dataset."""

    model: FSVAE
    tracks: pl.DataFrame
    """`schema.DATASET_TRACKS` of all tracks with a vector, in order of track index; the catalogue comes first."""
    info: dict[str, Any]
    """What the model is and what it was made from."""
    _users: dict[str, int]
    _n_listens: NDArray[np.int64]
    _last_played_at: NDArray[np.int64]
    _slow: NDArray[np.float32]
    _slow_last_day: NDArray[np.float32]
    _states: NDArray[np.float32]
    _rings: Rings

    @property
    def track_ids(self) -> list[str]:
        """Return the ids of the tracks with a vector in order of track index."""
        return self.tracks["track_id"].to_list()

    @property
    def user_ids(self) -> list[str]:
        """Return the users that the bundle knows."""
        return list(self._users)

    def learned_until(self, period: str) -> int:
        """Return the time [us] before which listens have shaped the model; for the test period, its selection too."""
        return int(self.info["train_until_us" if period == "validation" else "validation_until_us"])

    def user(self, user_id: str, at: int) -> tuple[UserState, NDArray[np.float32]] | None:
        """Return a user's fast state and slow snapshot [slow features], or None for a user that is not known.

        A request at `at` [us] on a day after the dataset reads the snapshot as of its end, which the next bundle
        renews; one on an earlier day reads the snapshot of the user's last active day, as evaluation does.
        """
        row = self._users.get(user_id)
        if row is None:
            return None
        states = [torch.from_numpy(state.copy())[:, None] for state in self._states[row]]
        last = int(self._last_played_at[row])
        slow = self._slow if at // DAY_US >= self.info["as_of_day"] else self._slow_last_day
        current, following = (states[0], states[1]), (states[2], states[3])
        state = UserState(int(self._n_listens[row]), last, current, following, self._rings.of(row))
        return state, slow[row].copy()

    def view(self, dataset: PreparedDataset) -> PreparedDataset:
        """Return a dataset in the model's track space."""
        return dataset.in_space_of(self.track_ids, self.model.tracks[:-1].numpy(), self.model.n_catalogue)


def save_bundle(path: Path, model: FSVAE, dataset: PreparedDataset, info: dict[str, Any]) -> None:
    """Write a bundle: the model, its catalogue, and the state of every user of the dataset behind its last listen.

    Args:
        path: a folder, made if it is missing.
        model: the trained model.
        dataset: the dataset it was trained on.
        info: JSON values to keep beside the model.
    """
    path.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path / "model.safetensors")
    dataset.tracks[: len(dataset.vectors)].write_parquet(path / "tracks.parquet")

    states = user_states(model, dataset)
    parts = [*states.current, *states.following]  # each [layers, U, H]
    flat = torch.stack(parts).permute(2, 0, 1, 3).reshape(len(dataset.user_ids), -1).numpy()
    snapshots = dataset.snapshots
    as_of = np.full(len(dataset.user_ids), dataset.manifest["as_of_day"])
    rows = snapshots.rows_of(np.arange(len(dataset.user_ids)), as_of)
    pl.DataFrame(
        {
            "user_id": dataset.user_ids,
            "n_listens": states.n_listens,
            "last_played_at_us": dataset.listens.played_at[dataset.listens.offsets[1:] - 1],
            "slow": snapshots.features(rows),
            "slow_last_day": snapshots.features(dataset.slow_row[dataset.listens.offsets[1:] - 1]),
            "states": flat,
            "ring_track": _lists(states.rings.offsets, states.rings.track.astype(np.int32)),
            "ring_features": _lists(states.rings.offsets * len(LISTEN_FEATURES), states.rings.features.ravel()),
        }
    ).write_parquet(path / "users.parquet")
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
        model = FSVAE(config, weights["tracks"][:-1], weights["slow.mean"], weights["slow.std"], info["n_catalogue"])
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path}: the model is not one of this version's. Train again: fsvae train.") from error
    users = pl.read_parquet(path / "users.parquet")
    lstm = model.fast.lstm
    return Bundle(
        model=model.eval(),
        tracks=pl.read_parquet(path / "tracks.parquet"),
        info=info,
        _users={user_id: row for row, user_id in enumerate(users["user_id"])},
        _n_listens=users["n_listens"].to_numpy(),
        _last_played_at=users["last_played_at_us"].to_numpy(),
        _slow=list_matrix(users["slow"]),
        _slow_last_day=list_matrix(users["slow_last_day"]),
        _states=list_matrix(users["states"]).reshape(len(users), 4, lstm.num_layers, lstm.hidden_size),
        _rings=Rings(
            offsets=np.concatenate([[0], np.cumsum(users["ring_track"].list.len().to_numpy(), dtype=np.int64)]),
            track=_flat(users["ring_track"], np.int64),
            features=_flat(users["ring_features"], np.float32).reshape(-1, len(LISTEN_FEATURES)),
        ),
    )


def _flat(column: pl.Series, dtype: type[np.generic]) -> NDArray[Any]:
    """Return the elements of all lists of a column, one list behind the other."""
    return column.explode(empty_as_null=False).to_numpy().astype(dtype)
