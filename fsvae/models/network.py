"""What the trainer asks of a network, so that FS-VAE and the neural baselines are trained in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from fsvae.data.chunks import ChunkBatch
from fsvae.recommender import Predictions


class Network(nn.Module, ABC):
    """A module that predicts the targets of chunks."""

    @property
    @abstractmethod
    def history(self) -> int:
        """Return L: a state sees between L and 2 L of the latest listens."""

    @abstractmethod
    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` of a batch after some (fractional) epochs of training, and its terms, with gradients."""

    @abstractmethod
    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return figures of a batch with targets, each a mean over them; `l2` and `cosine` are among them."""

    @property
    def scored(self) -> int:
        """Return how many tracks `predictions` scores one by one; 0 where it gives queries to search for."""
        return 0

    @abstractmethod
    def predictions(self, batch: ChunkBatch) -> Predictions:
        """Return what is recommended at the targets of a batch, in row-major order of target_BT, without gradients."""
