"""Latent Cross (Beutel et al., WSDM 2018): a GRU whose input and state are multiplied by embeddings of the context.

Kept: the element-wise product with 1 + the sum of context embeddings, before the GRU (the context of a listen) and
after it (that of the request). The contexts here are pause, session start, hour, weekday and played share, and after
the GRU also the slow features, in place of the paper's user and device. Different: contexts are numbers, so their
embeddings are linear maps, that of the slow features an MLP; track embeddings start as the track space.

Shape suffixes as in `fsvae.baselines.sequence`.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceNetwork, shifted
from fsvae.baselines.settings import LatentCrossConfig
from fsvae.data.chunks import ChunkBatch
from fsvae.data.dataset import Dataset
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.models.encoders import SlowEncoder
from fsvae.models.slow_moments import slow_moments


class LatentCrossNetwork(SequenceNetwork):
    """A network whose state is the GRU's, times 1 + the embeddings of the request's context."""

    name = "LatentCross"

    def __init__(
        self, config: LatentCrossConfig, vectors_VD: Tensor, n_catalogue: int, slow_mean: Tensor, slow_std: Tensor
    ) -> None:
        """Build the network around a track space, as `SequenceNetwork` does.

        Args:
            config: sizes.
            vectors_VD: [V, D] track vectors.
            n_catalogue: number of tracks in the catalogue, the first ones.
            slow_mean: [slow features] means over the training period's snapshots.
            slow_std: [slow features] standard deviations over the same snapshots.
        """
        super().__init__(config, vectors_VD, n_catalogue, config.hidden)
        self.project = nn.Linear(vectors_VD.shape[1] + 1, config.hidden)
        self.listen_context = nn.Linear(len(LISTEN_FEATURES), config.hidden, bias=False)
        self.request_context = nn.Linear(len(REQUEST_FEATURES), config.hidden, bias=False)
        self.slow_context = SlowEncoder(slow_mean, slow_std, config.slow_hidden, config.hidden)
        self.gru = nn.GRU(config.hidden, config.hidden, batch_first=True)
        self.first = nn.Parameter(torch.zeros(config.hidden))
        self.dropout = nn.Dropout(config.dropout)

    @classmethod
    def for_dataset(cls, dataset: Dataset, config: LatentCrossConfig) -> Self:
        """Return an untrained network around a dataset's track space."""
        return cls(config, torch.from_numpy(dataset.vectors), dataset.n_catalogue, *slow_moments(dataset))

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, H]."""
        x_BTH = self.project(self.heard(batch.track_BT)) * (1 + self.listen_context(batch.features_BTF))
        after_BTH, _ = self.gru(x_BTH)
        slow_BTH = self.slow_context(batch.slow_SD)[batch.slow_index_BT]
        context_BTH = self.request_context(batch.request_BTR) + slow_BTH
        state_BTH: Tensor = self.dropout(shifted(after_BTH, self.first) * (1 + context_BTH))
        return state_BTH
