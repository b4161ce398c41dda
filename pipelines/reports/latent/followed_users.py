"""Some users in a latent space: the paths that they went, and who is near them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError, nearest
from fsvae.latent.maps import Space, neighbours
from fsvae.latent.paths import Path, path
from fsvae.latent.states import Done, States, encode, latest_days, mean_request, most_active
from fsvae.latent.tastes import slow_known, slow_taste
from fsvae.models.fsvae import FSVAE
from pipelines.reports.latent.figures import CHOSEN, DAYS, NEAREST, Chosen, Neighbour


def users_of(dataset: PreparedDataset, user_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the indices of users by their ids, in the order given."""
    if not user_ids:
        return most_active(dataset, DAYS, CHOSEN)
    index_of = {user_id: index for index, user_id in enumerate(dataset.user_ids)}
    for user_id in user_ids:
        if user_id not in index_of:
            raise UserError(f"--users {user_id}: there is no such user in the dataset.{nearest(user_id, index_of)}")
    return np.array([index_of[user_id] for user_id in dict.fromkeys(user_ids)], dtype=np.int64)


def follow(
    model: FSVAE,
    dataset: PreparedDataset,
    chosen: NDArray[np.int64],
    users: NDArray[np.int64],
    latest: States,
    done: Done,
) -> list[Chosen]:
    """Follow the chosen users through the last days, and look for those near them.

    Args:
        model: a trained model.
        dataset: the listens, in the model's track space.
        chosen: whom to follow.
        users: [U] among whom to look for neighbours, ascending; the chosen ones are among them.
        latest: [U] their states before their last listens.
        done: told of the progress.
    """
    near = {"both": _neighbours(dataset, users, latest, chosen)}
    if "slow" in _sides(model):
        known = slow_known(dataset, latest.positions)  # the others would be nearest to each other, whoever they are
        near["slow"] = [[] for _ in chosen]
        if known.sum() > 1:
            positions = latest.positions[known]
            request_R = mean_request(dataset.listens, positions)
            slow = encode(model, dataset, positions, fast=False, request_R=request_R)
            near["slow"] = _neighbours(dataset, users[known], slow, chosen)
    followed = []
    for row, user in enumerate(chosen):
        paths, listens = _drift(model, dataset, int(user))
        nearest_users = {side: found[row] for side, found in near.items()}
        followed.append(Chosen(dataset.user_ids[user], listens, paths, nearest_users))
        done(row + 1, len(chosen))
    return followed


def _sides(model: FSVAE) -> list[str]:
    """Return from what the states of a model can be encoded: both sides, and each alone where it has two."""
    config = model.config
    return ["slow", "fast", "both"] if config.slow and config.fast != "off" else ["both"]


def _drift(model: FSVAE, dataset: PreparedDataset, user: int) -> tuple[dict[str, Path], int]:
    """Return a user's paths and the number of listens in the last days.

    All points are asked for with one request: a path shows the user, and not the hours and weekdays of the listens.
    """
    recent = latest_days(dataset, np.array([user]), DAYS)
    known = recent[slow_taste(dataset, recent).any(axis=1)]  # from an unknown taste to a known one is no drift
    paths = {}
    for side in _sides(model) if len(known) else []:
        request_R = mean_request(dataset.listens, known)
        states = encode(model, dataset, known, slow=side != "fast", fast=side != "slow", request_R=request_R)
        paths[side] = path(dataset.listens, states)
    return paths, len(recent)


def _neighbours(
    dataset: PreparedDataset, users: NDArray[np.int64], latest: States, chosen: NDArray[np.int64]
) -> list[list[Neighbour]]:
    """Return for each chosen user those nearest by their latest states, and the mean of all others.

    None for one who is not among the users.
    """
    taste = slow_taste(dataset, latest.positions).astype(np.float64)
    norm = np.linalg.norm(taste, axis=1, keepdims=True)
    taste = np.where(norm > 0, taste, np.nan) / np.maximum(norm, 1e-12)
    offsets, track = dataset.listens.offsets, dataset.listens.track
    heard = [np.unique(track[offsets[user] : offsets[user + 1]]) for user in users]
    near, unit = neighbours(latest.mean_NZ, users, NEAREST), Space.of(latest).unit
    found: list[list[Neighbour]] = []
    for user in chosen:
        if user not in users:
            found.append([])
            continue
        row = int(np.searchsorted(users, user))
        distance = np.linalg.norm(latest.mean_NZ.astype(np.float64) - latest.mean_NZ[row], axis=1) / unit
        alike = taste @ taste[row]
        both = np.array([len(np.intersect1d(heard[row], other, assume_unique=True)) for other in heard])
        shared = both / (len(heard[row]) + np.array([len(other) for other in heard]) - both)
        others = np.arange(len(users)) != row
        columns = (distance, alike, shared)
        found.append(
            [
                *(Neighbour(dataset.user_ids[users[k]], *(float(column[k]) for column in columns)) for k in near[row]),
                Neighbour("mean of all others", *(mean_known(column[others]) for column in columns)),
            ]
        )
    return found


def mean_known(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are known; NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
