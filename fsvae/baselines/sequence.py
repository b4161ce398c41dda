"""The parts that neural baselines share with FS-VAE and each other: track space, both heads, loss of next tracks.

A baseline adds only the map from the listens to the state before a position.

Shape suffixes: B chunks, T positions, N targets, I heard track, H state, V tracks with a vector, C catalogue, D track
space.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from fsvae.baselines.settings import SequenceConfig
from fsvae.data.chunks import ChunkBatch
from fsvae.data.dataset import Dataset
from fsvae.memory.rows import MemoryRows
from fsvae.models.base import Network, distances
from fsvae.models.decoders import Decoder
from fsvae.models.losses import GaussianLikelihood, TrackSoftmax
from fsvae.predictions import Predictions


class SequenceNetwork(Network):
    """A network with a state before each position, decoded to the expected track vector and the query."""

    def __init__(self, config: SequenceConfig, vectors_VD: Tensor, n_catalogue: int, state_dim: int) -> None:
        """Build the shared parts.

        Args:
            config: sizes and weights.
            vectors_VD: [V, D] vectors of the catalogue and, after it, of tracks with an imputed one.
            n_catalogue: number of tracks in the catalogue, the first ones.
            state_dim: H, size of the state that the decoder reads.
        """
        super().__init__(vectors_VD, n_catalogue, finetuned=config.track_table == "finetuned")
        self._history = config.history
        self._softmax_weight = config.softmax_weight
        dim = vectors_VD.shape[1]
        self.decoder = Decoder(state_dim, config.decoder_hidden, dim, with_query=config.softmax_weight > 0)
        self.likelihood = GaussianLikelihood(dim)
        self.softmax = TrackSoftmax(config.softmax_tracks) if config.softmax_weight > 0 else None

    @classmethod
    def for_dataset(cls, dataset: Dataset, config: Any) -> Self:
        """Return an untrained network around a dataset's track space."""
        return cls(config, torch.from_numpy(dataset.vectors), dataset.n_catalogue)  # type: ignore[call-arg]

    @property
    def history(self) -> int:
        """Return L: a state sees between L and 2 L of the latest listens."""
        return self._history

    @abstractmethod
    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, H], from the listens before it and the time of the request."""

    def forward(self, batch: ChunkBatch) -> tuple[Tensor, Tensor]:
        """Return the expected track vectors and the queries [N, D] of a batch's targets, in row-major order."""
        y_ND, query_ND = self.decoder(at_targets(self.before(batch), batch))
        return y_ND, query_ND

    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` -log p(y | state), the track softmax's included, as means over the targets [nats]."""
        y_ND, query_ND = self(batch)
        return self.next_track_loss(y_ND, query_ND, batch)

    def next_track_loss(self, y_ND: Tensor, query_ND: Tensor, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return the `loss` of predictions for a batch's targets, and its terms [nats]."""
        target_N = batch.track_BT[batch.target_BT]
        targets = max(len(target_N), 1)
        nll = self.likelihood(y_ND, self.tracks[target_N]).sum() / targets
        if self.softmax is None:
            return {"nll": nll, "loss": nll}
        softmax = self.softmax(query_ND, target_N, self.track_table[: self.n_catalogue]).sum() / targets
        return {"nll": nll, "softmax": softmax, "loss": nll + self._softmax_weight * softmax}

    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return distances and the Gaussian loss [nats] of a batch's targets, [N] each."""
        actual_ND = self.tracks[batch.track_BT[batch.target_BT]]
        y_ND, _ = self(batch)
        return {**distances(y_ND, actual_ND), "nll": self.likelihood(y_ND, actual_ND)}

    @torch.inference_mode()
    def predictions(self, batch: ChunkBatch, rows: MemoryRows | None = None) -> Predictions:
        """Return the expected vectors of a batch's targets and the queries that rank the tracks."""
        y_ND, query_ND = self(batch)
        return Predictions(
            batch.listen_BT[batch.target_BT].numpy(),
            y_ND.numpy(),
            queries=None if self.n_scored else query_ND.numpy(),
            scores=self.cosines(query_ND).numpy() if self.n_scored else None,
        )


def at_targets(x_BTH: Tensor, batch: ChunkBatch) -> Tensor:
    """Return the rows of a batch's targets, [N, H]."""
    # index_select's backward is a plain sum of rows, several times faster than that of general indexing
    return x_BTH.flatten(0, 1).index_select(0, batch.target_BT.flatten().nonzero()[:, 0])


def shifted(after_BTH: Tensor, first_H: Tensor) -> Tensor:
    """Return the state before each position for those after each: `first_H`, then one position later."""
    first_B1H = first_H.expand(len(after_BTH), 1, -1)
    return torch.cat([first_B1H, after_BTH[:, :-1]], dim=1)
