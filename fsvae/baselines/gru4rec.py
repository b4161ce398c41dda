"""GRU4Rec (Hidasi et al., ICLR 2016; Hidasi and Karatzoglou, CIKM 2018): a GRU over the tracks heard.

Kept: the GRU, that tracks are all it is told (no times), dropout, a softmax over drawn tracks. Different: its
track embeddings start as the track space, and it goes on over the pauses between sessions.

Shape suffixes as in `fsvae.baselines.sequence`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceConfig, SequenceNetwork, shifted
from fsvae.data.chunks import ChunkBatch


@dataclass
class GRU4RecConfig(SequenceConfig):
    """Sizes of GRU4Rec."""

    hidden: int = 128
    """Units of the GRU."""
    layers: int = 1
    """Layers of the GRU."""
    dropout: float = 0.1
    """Share of the inputs and of the states that is taken away in training."""


class GRU4Rec(SequenceNetwork):
    """The state is the GRU's hidden one, zero before the first listen."""

    def __init__(self, config: GRU4RecConfig, vectors_VD: Tensor, n_catalogue: int) -> None:
        """Build the network around a track space, as `SequenceNetwork` does."""
        super().__init__(config, vectors_VD, n_catalogue, config.hidden)
        self.gru = nn.GRU(vectors_VD.shape[1] + 1, config.hidden, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, H]."""
        after_BTH, _ = self.gru(self.dropout(self.heard(batch.track_BT)))
        return shifted(self.dropout(after_BTH), after_BTH.new_zeros(after_BTH.shape[-1]))
