"""Which dimensions of a latent say something: KL, active units, and posterior collapse.

Shape suffix: Z latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsvae.latent.states import States

ACTIVE_VARIANCE = 0.01
"""A dimension is active when the posterior's mean varies by more than this between states (Burda, Grosse and
Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, appendix C)."""


@dataclass(frozen=True)
class Units:
    """The dimensions of a latent."""

    kl_Z: NDArray[np.float64]
    """[Z] mean KL of the posterior to the prior [nats]; 0 for a deterministic latent."""
    variance_Z: NDArray[np.float64]
    """[Z] variance of the posterior's mean between states."""
    active_Z: NDArray[np.bool_]
    """[Z] whether the dimension says anything of the user."""

    @classmethod
    def of(cls, states: States) -> Units:
        """Return the dimensions as some states use them."""
        variance_Z = states.mean_NZ.astype(np.float64).var(axis=0)
        return cls(states.kl_NZ.astype(np.float64).mean(axis=0), variance_Z, variance_Z > ACTIVE_VARIANCE)

    @property
    def by_kl(self) -> NDArray[np.int64]:
        """Return the dimensions, those that say most first."""
        return np.lexsort((-self.variance_Z, -self.kl_Z)).astype(np.int64)

    @property
    def collapsed(self) -> int:
        """Return how many dimensions have collapsed: their posterior is the same for all states."""
        return int((~self.active_Z).sum())
