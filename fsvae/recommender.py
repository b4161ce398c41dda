"""What every model of the comparison can do, FS-VAE and baselines alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import PreparedDataset


class Predictions(NamedTuple):
    """Predictions for some target positions of a dataset."""

    targets: NDArray[np.int64]
    """[N] flat positions."""
    vectors: NDArray[np.float32]
    """[N, D] predicted points of the track space: distances are measured from them."""
    queries: NDArray[np.float32] | None = None
    """[N, D] points whose nearest tracks are recommended, where they are not `vectors`."""
    scores: NDArray[np.float32] | None = None
    """[N, C] or [1, C] scores of the catalogue, where the model does not rank by nearness to a point."""
    uncertainty: NDArray[np.float32] | None = None
    """[N] how unsure the model is of each prediction, larger is less sure; in a unit of its own."""


class Recommender(Protocol):
    """Learns from a dataset's training period and predicts positions from what came before them."""

    name: str

    def fit(self, dataset: PreparedDataset) -> None:
        """Learn from the training period."""
        ...

    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in [begin_us, end_us), in one pass over each history.

        A prediction uses only what is before its target in the order (played_at, position in the source), and the
        time of the request.
        """
        ...
