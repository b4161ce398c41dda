"""SASRec (Kang and McAuley, ICDM 2018): causal self-attention over the tracks heard.

Kept: learned positions, blocks of causal attention and a feed-forward part, dropout, and order as the only information
on time. Different: track embeddings start as the track space and are projected, normalisation comes before each part
(as in later work), the loss is a softmax over drawn tracks instead of a logistic loss with one, and positions count
from the anchor of the chunk, so that one pass predicts every position.

Shape suffixes as in `fsvae.baselines.sequence`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceNetwork, shifted
from fsvae.baselines.settings import SASRecConfig
from fsvae.data.chunks import ChunkBatch
from fsvae.limits import check


class SASRecNetwork(SequenceNetwork):
    """A network whose state before a position attends to a learned start vector and to all listens before."""

    name = "SASRec"

    def __init__(self, config: SASRecConfig, vectors_VD: Tensor, n_catalogue: int) -> None:
        """Build the network around a track space, as `SequenceNetwork` does.

        Raises:
            UserError: a size is outside its limits.
        """
        check(config, "baselines.sasrec.")
        super().__init__(config, vectors_VD, n_catalogue, config.hidden)
        self.project = nn.Linear(vectors_VD.shape[1] + 1, config.hidden)
        self.beginning = nn.Parameter(torch.zeros(config.hidden))
        self.positions = nn.Parameter(0.02 * torch.randn(2 * config.history, config.hidden))
        self.dropout = nn.Dropout(config.dropout)
        block = nn.TransformerEncoderLayer(
            config.hidden,
            config.heads,
            config.feedforward,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, config.blocks, norm=nn.LayerNorm(config.hidden), enable_nested_tensor=False
        )

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, H]."""
        listens = batch.track_BT.shape[1]
        x_BTH = shifted(self.project(self.heard(batch.track_BT)), self.beginning) + self.positions[:listens]
        later_TT = nn.Transformer.generate_square_subsequent_mask(listens, device=x_BTH.device, dtype=x_BTH.dtype)
        state_BTH: Tensor = self.blocks(self.dropout(x_BTH), mask=later_TT, is_causal=True)
        return state_BTH
