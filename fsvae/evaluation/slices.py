"""Slices of the targets by situation, computed from the dataset alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.evaluation.lists import train_counts
from fsvae.features.sessions import is_session_start

ALL = "all"
"""The slice of all targets."""

MEANINGS = (
    "Repeat tracks: those that the user has listened to before. Session start: the first listen after a pause. Light, "
    "medium and heavy users: thirds of the users by their training listens; cold users have none. Head, mid and tail "
    "tracks: the most popular ones that make up a third of the training listens, those of the next third, and the "
    "others."
)
"""Short description of the slices for readers of a report."""

Slices = dict[str, NDArray[np.bool_]]
"""Name of a slice → [N] whether each target is in it."""


def slices(dataset: Dataset, targets: NDArray[np.int64]) -> Slices:
    """Return the slices of some targets, flat positions in ascending order; those of a group do not overlap.

    * ``repeat track``, ``new track``: the user has listened to the track before, or never.
    * ``session start``, ``within session``: the listen opens a session (`fsvae.features.sessions`), or continues one.
    * ``light users``, ``medium users``, ``heavy users``: thirds of the users, by their listens in the training period.
      They are thirds of the users that have a target and a training listen, not of the targets; users with equally many
      listens are in the same third.
    * ``cold users``: no listen in the training period.
    * ``head tracks``, ``mid tracks``, ``tail tracks``: the most popular tracks that make up a third of the training
      listens to the catalogue, those of the next third, and the other tracks of the catalogue.
    """
    return {
        ALL: np.ones(len(targets), dtype=np.bool_),
        **_by_novelty(dataset, targets),
        **_by_session(dataset, targets),
        **_by_user(dataset, targets),
        **_by_popularity(dataset, targets),
    }


def _by_novelty(dataset: Dataset, targets: NDArray[np.int64]) -> Slices:
    listens = dataset.listens
    _, first = np.unique(listens.user * (int(listens.track.max()) + 1) + listens.track, return_index=True)
    new = np.zeros(len(listens), dtype=np.bool_)
    new[first] = True
    return {"repeat track": ~new[targets], "new track": new[targets]}


def _by_session(dataset: Dataset, targets: NDArray[np.int64]) -> Slices:
    start = is_session_start(dataset.listens.played_at[targets], dataset.listens.previous_at[targets])
    return {"session start": start, "within session": ~start}


def _by_user(dataset: Dataset, targets: NDArray[np.int64]) -> Slices:
    listens = dataset.listens
    trained = listens.played_at < dataset.period("train")[1]
    count = np.bincount(listens.user[trained], minlength=listens.n_users)
    of_target = count[listens.user[targets]]
    of_user = count[np.unique(listens.user[targets])]
    warm = np.sort(of_user[of_user > 0])
    low, high = (warm[-(-len(warm) * part // 3) - 1] for part in (1, 2)) if len(warm) else (0, 0)
    return {
        "light users": (of_target > 0) & (of_target <= low),
        "medium users": (of_target > low) & (of_target <= high),
        "heavy users": of_target > high,
        "cold users": of_target == 0,
    }


def _by_popularity(dataset: Dataset, targets: NDArray[np.int64]) -> Slices:
    count = train_counts(dataset)[: dataset.n_catalogue]
    ascending = np.sort(count)
    listens_up_to = np.concatenate([[0], np.cumsum(ascending)])
    # Listens to more popular tracks: equally popular tracks are in the same slice, whatever their index.
    more = listens_up_to[-1] - listens_up_to[np.searchsorted(ascending, count, side="right")]
    third = np.minimum(3 * more // max(int(listens_up_to[-1]), 1), 2)
    track = dataset.listens.track[targets]
    inside = track < dataset.n_catalogue
    of_target = np.where(inside, third[np.where(inside, track, 0)], -1)
    return {f"{name} tracks": of_target == index for index, name in enumerate(("head", "mid", "tail"))}
