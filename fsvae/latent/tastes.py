"""Users' tastes and the tracks heard last, in the track space, for comparison with states.

Shape suffixes: N listens, D track space.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US


def slow_taste(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the taste of each listen's snapshot, with the longest half-life, [N, D]; 0: none is known."""
    user, day = dataset.listens.user[positions], dataset.listens.played_at[positions] // DAY_US
    return dataset.snapshots.sums.taste(user, day)[:, -dataset.vectors.shape[1] :]


def last_heard(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the vector of the same user's previous listen, [N, D]; 0: there is none, or it has no vector."""
    listens, vectors = dataset.listens, dataset.vectors
    track_N = listens.track[np.maximum(positions - 1, 0)]
    known_N = (listens.n_before[positions] > 0) & (track_N < len(vectors))
    return vectors[np.where(known_N, track_N, 0)] * known_N[:, None].astype(np.float32)
