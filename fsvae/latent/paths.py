"""Ways through a latent space, and the tracks met on them: between users, along a dimension, through the days.

Shape suffixes: N states, S steps, P pairs, A dimensions, T days, Z latent, D track space, C catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.listens import Listens
from fsvae.features.slow import DAY_US
from fsvae.latent.states import States
from fsvae.models.fsvae import FSVAE

SIGMAS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Where a traversal stops along a dimension, in standard deviations of the aggregate posterior."""


@torch.inference_mode()
def decode(model: FSVAE, z: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the directions in which the model looks for tracks from latents [..., Z]: unit vectors [..., D]."""
    _, query = model.decoder(torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)))
    vectors = query.numpy().astype(np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def nearest_track(model: FSVAE, directions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the track of the catalogue that lies nearest to each direction, [...]; of equals the first.

    A repeat head is left out: it points at what a user has heard, whatever the latent says of the music.
    """
    return np.asarray((directions @ model.search_table.detach().numpy().T).argmax(axis=-1), dtype=np.int64)


def line(a_Z: NDArray[np.float32], b_Z: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Return the latents on the way from one to another in equal steps, both ends included, [steps + 1, Z]."""
    share = np.linspace(0.0, 1.0, steps + 1)[:, None]
    return np.asarray((1 - share) * a_Z + share * b_Z, dtype=np.float32)


@dataclass(frozen=True)
class Smoothness:
    """How even the ways between pairs of states are, in the space of what is decoded on them."""

    neighbours: NDArray[np.float64]
    """[P * S] cosine of what is decoded at a stop and at the next one."""
    ends: NDArray[np.float64]
    """[P] cosine of what is decoded at the two ends: that of a random pair."""
    largest_step: NDArray[np.float64]
    """[P] the largest turn between two stops, as a share of all turns of the way; an even way has 1 / S."""


def smoothness(model: FSVAE, a_PZ: NDArray[np.float32], b_PZ: NDArray[np.float32], steps: int) -> Smoothness:
    """Walk from each state to its partner and look at what is decoded on the way."""
    directions = decode(model, np.stack([line(a_Z, b_Z, steps) for a_Z, b_Z in zip(a_PZ, b_PZ, strict=True)]))
    cosine_PS = cosine(directions[:, :-1], directions[:, 1:])
    turn_PS = np.arccos(cosine_PS.clip(-1, 1))
    largest = turn_PS.max(axis=1) / np.maximum(turn_PS.sum(axis=1), 1e-12)
    return Smoothness(cosine_PS.ravel(), cosine(directions[:, 0], directions[:, -1]), largest)


def random_pairs(user_N: NDArray[np.int64], count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of at most so many random pairs of states of two users, [P] and [P]."""
    rows = np.random.default_rng(seed).integers(0, len(user_N), size=(count, 2))
    rows = rows[user_N[rows[:, 0]] != user_N[rows[:, 1]]]
    return rows[:, 0], rows[:, 1]


def traversal(
    centre_Z: NDArray[np.float64], sigma_Z: NDArray[np.float64], dimensions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the latents met when one dimension after another moves through SIGMAS, all others at the centre.

    Returns:
        [A, len(SIGMAS), Z].
    """
    z_ASZ = np.tile(centre_Z.astype(np.float32), (len(dimensions), len(SIGMAS), 1))
    for row, dimension in enumerate(dimensions):
        z_ASZ[row, :, dimension] += np.asarray(SIGMAS, dtype=np.float32) * np.float32(sigma_Z[dimension])
    return z_ASZ


@dataclass(frozen=True)
class Path:
    """Where a user was on each day with listens: the mean of the day's states."""

    day_T: NDArray[np.int64]
    """[T] days since 1970 UTC."""
    mean_TZ: NDArray[np.float32]
    """[T, Z]"""

    @property
    def steps(self) -> NDArray[np.float64]:
        """Return the distance from each day to the next one, [T - 1]."""
        return np.asarray(np.linalg.norm(np.diff(self.mean_TZ.astype(np.float64), axis=0), axis=1))

    @property
    def net(self) -> float:
        """Return the distance from the first day to the last one."""
        return float(np.linalg.norm(self.mean_TZ[-1].astype(np.float64) - self.mean_TZ[0]))


def path(listens: Listens, states: States) -> Path:
    """Return the path of one user, of whom the states are, in order of time."""
    day, row = np.unique(listens.played_at[states.positions] // DAY_US, return_inverse=True)
    total_TZ = np.zeros((len(day), states.mean_NZ.shape[1]))
    np.add.at(total_TZ, row, states.mean_NZ)
    return Path(day, (total_TZ / np.bincount(row)[:, None]).astype(np.float32))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of unit vectors, [...]."""
    return np.asarray((a * b).sum(axis=-1))
