"""The predictions of a model, and what the evaluation asks of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset


class Predictions(NamedTuple):
    """Predictions for some target positions of a dataset."""

    targets: NDArray[np.int64]
    """[N] flat positions."""
    vectors: NDArray[np.float32]
    """[N, D] predicted points of the track space, from which distances are measured."""
    queries: NDArray[np.float32] | None = None
    """[N, D] points whose nearest tracks are recommended; None: `vectors`."""
    scores: NDArray[np.float32] | None = None
    """[N, S] or [1, S] scores of the first S tracks; None: the model ranks by nearness to a point."""
    uncertainty: NDArray[np.float32] | None = None
    """[N] uncertainty of each prediction, in a unit of the model's own; larger is less sure."""
    normalised: bool = False
    """Whether the scores are probabilities, which sum to 1 over all tracks."""

    def at(self, rows: slice) -> Predictions:
        """Return the predictions for some of the targets."""
        scores = self.scores
        return Predictions(
            self.targets[rows],
            self.vectors[rows],
            None if self.queries is None else self.queries[rows],
            scores if scores is None or len(scores) == 1 else scores[rows],
            None if self.uncertainty is None else self.uncertainty[rows],
            self.normalised,
        )


class Predictor(Protocol):
    """A model that can be evaluated."""

    name: str

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in [begin_us, end_us), in one pass over each history.

        A prediction uses only listens before its target in the order (played_at, position in the source), and the
        time of the request.
        """
        ...
