"""The interface between trainer and network, so that FS-VAE and the neural baselines are trained in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from fsvae.data.chunks import ChunkBatch
from fsvae.data.dataset import Dataset
from fsvae.memory.rows import MemoryRows
from fsvae.predictions import Predictions


class Network(nn.Module, ABC):
    """A module around a track space that predicts the targets of chunks.

    Its `tracks` are the vectors of the catalogue, then of the tracks with an imputed one, then a zero for all others.
    """

    name: ClassVar[str]
    """Name in tables."""
    tracks: Tensor

    def __init__(self, vectors_VD: Tensor, n_catalogue: int, finetuned: bool = False) -> None:
        """Keep a track space.

        Args:
            vectors_VD: [V, D] vectors of the catalogue and, after it, of tracks with an imputed one.
            n_catalogue: number of tracks in the catalogue, the first ones.
            finetuned: read and search tracks in a trained table that starts as the track space; the expected vector,
                from which distances are measured, stays a point of the track space.
        """
        super().__init__()
        self.n_catalogue = n_catalogue
        self.register_buffer("tracks", torch.cat([vectors_VD, vectors_VD.new_zeros(1, vectors_VD.shape[1])]))
        self.table = nn.Parameter(self.tracks.clone()) if finetuned else None
        self._unit_table: Tensor | None = None

    @classmethod
    @abstractmethod
    def for_dataset(cls, dataset: Dataset, config: Any) -> Self:
        """Return an untrained network for a dataset; its weights are drawn from torch's generator."""

    @property
    def catalogue(self) -> Tensor:
        """Return the vectors of the trained catalogue, [C, D]."""
        return self.tracks[: self.n_catalogue]

    @property
    def track_table(self) -> Tensor:
        """Return the table from which tracks are read, [V + 1, D]: their vectors, frozen or finetuned."""
        return self.tracks if self.table is None else self.table

    @property
    def search_table(self) -> Tensor:
        """Return the unit vectors in which a query is searched, [V, D]: trained or imputed, frozen or finetuned."""
        if self._unit_table is not None:
            return self._unit_table
        return self.tracks[:-1] if self.table is None else normalize(self.table[:-1], dim=-1)

    def keep_search_table(self) -> None:
        """Compute the search table once, for a network whose table stays as it is."""
        self._unit_table = self.search_table.detach().contiguous()

    def cosines(self, query_ND: Tensor) -> Tensor:
        """Return the cosines of queries and the tracks with a vector, [N, V]."""
        return normalize(query_ND, dim=-1) @ self.search_table.T

    def heard(self, track: Tensor) -> Tensor:
        """Return the inputs of tracks [...]: their row, and whether they are outside the catalogue, [..., D + 1]."""
        table = self.track_table
        outside = (track >= self.n_catalogue).to(table.dtype)
        return torch.cat([table[track.clamp(max=len(table) - 1)], outside[..., None]], dim=-1)

    @property
    @abstractmethod
    def history(self) -> int:
        """Return L: a state sees between L and 2 L of the latest listens."""

    @property
    def has_memory(self) -> bool:
        """Return whether batches need what the memory held (`ChunkBatch.memory`), and predictions its rows."""
        return False

    @property
    def criterion(self) -> str:
        """Return the name of the figure of `validate` that is least in the best epoch."""
        return "l2"

    @abstractmethod
    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` of a batch after some (fractional) epochs of training, and its terms, with gradients."""

    @abstractmethod
    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return figures of a batch's targets, `l2` and `cosine` among them: [N], or fewer where a target has none."""

    @property
    def n_scored(self) -> int:
        """Return the number of tracks that `predictions` scores; 0 where queries are searched in the track space."""
        return 0 if self.table is None else len(self.tracks) - 1

    @abstractmethod
    def predictions(self, batch: ChunkBatch, rows: MemoryRows | None = None) -> Predictions:
        """Return the predictions at the targets of a batch, in row-major order of target_BT, without gradients.

        `rows` is what the memory held before them, for networks with one.
        """


def distances(y_ND: Tensor, actual_ND: Tensor) -> dict[str, Tensor]:
    """Return the `l2` and the `cosine` distance of each expected track vector to the actual one, [N] each."""
    return {"l2": (y_ND - actual_ND).norm(dim=-1), "cosine": 1 - cosine_similarity(y_ND, actual_ND, dim=-1)}


def warmed_up(weight: float, epochs: float, warmup_epochs: float) -> float:
    """Return a weight after some epochs of training: it rises from 0 over `warmup_epochs`."""
    return weight * min(1.0, epochs / warmup_epochs if warmup_epochs > 0 else 1.0)
