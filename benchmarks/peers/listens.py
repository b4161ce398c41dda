"""The listens of a prepared dataset as the peers read them: a NumPy file without names of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset

HISTORY = 64
"""Latest listens that all models read (ours: as many to twice as many). RecBole runs over them anew for each target:
with 128 an epoch of its SASRec takes more than ten minutes."""


def write_listens(dataset: Dataset, path: Path) -> NDArray[np.int64]:
    """Write the listens to tracks of the catalogue, user by user in order, and which of them are test positions.

    The others are left out, as the peers have no way to say 'a track that is not known'. Returns [N] the flat positions
    of the test targets in the dataset.

    Args:
        dataset: the listens.
        path: the file.
    """
    listens = dataset.listens
    inside = np.flatnonzero(listens.track < dataset.n_catalogue)
    user = listens.user[inside].astype(np.int64)
    targets = dataset.targets("test")
    targets = targets[listens.track[targets] < dataset.n_catalogue]
    np.savez(
        path,
        history=HISTORY,
        user=user,
        track=listens.track[inside].astype(np.int64),
        played_at=listens.played_at[inside],
        offset=np.searchsorted(user, np.arange(listens.n_users)),
        test=np.searchsorted(inside, targets),
        train_until=dataset.period("train")[1],
        validation_until=dataset.period("validation")[1],
        n_catalogue=dataset.n_catalogue,
    )
    return targets
