"""Paths through a latent space: from one user to another, with the nearest tracks, and of one user day by day.

Shape suffixes: T days, Z latent, D track space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.listens import Listens
from fsvae.features.clock import DAY_US
from fsvae.latent.states import States
from fsvae.models.fsvae import FSVAENetwork


@torch.inference_mode()
def decode(model: FSVAENetwork, z: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the directions in which the model searches tracks for latents [..., Z]: unit vectors [..., D]."""
    _, query = model.decoder(torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)))
    vectors = query.numpy().astype(np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def nearest_track(model: FSVAENetwork, directions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the track of the catalogue nearest to each direction, [...]; of equals the first.

    The memory is left out: it counts listens, and has no place in the track space.
    """
    return np.asarray(
        (directions @ model.search_table[: model.n_catalogue].detach().numpy().T).argmax(axis=-1), dtype=np.int64
    )


@dataclass(frozen=True)
class Path:
    """The place of a user on each day with listens: the mean of the day's states."""

    day_T: NDArray[np.int64]
    """[T] days since 1970 UTC."""
    mean_TZ: NDArray[np.float32]
    """[T, Z] mean of each day's states."""

    @property
    def steps(self) -> NDArray[np.float64]:
        """Return the distance from each day to the next one, [T - 1]."""
        return np.asarray(np.linalg.norm(np.diff(self.mean_TZ.astype(np.float64), axis=0), axis=1))

    @property
    def net(self) -> float:
        """Return the distance from the first day to the last one."""
        return float(np.linalg.norm(self.mean_TZ[-1].astype(np.float64) - self.mean_TZ[0]))


def path(listens: Listens, states: States) -> Path:
    """Return the path of one user from the user's states, which are in order of time."""
    day, row = np.unique(listens.played_at[states.positions] // DAY_US, return_inverse=True)
    total_TZ = np.zeros((len(day), states.mean_NZ.shape[1]))
    np.add.at(total_TZ, row, states.mean_NZ)
    return Path(day, (total_TZ / np.bincount(row)[:, None]).astype(np.float32))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of unit vectors, [...]."""
    return np.asarray((a * b).sum(axis=-1))
