"""GRU4Rec (Hidasi et al., ICLR 2016; Hidasi and Karatzoglou, CIKM 2018): a GRU over the tracks heard.

Kept: the GRU, tracks as the only input (no times), dropout, a softmax over drawn tracks. Different: track embeddings
start as the track space, and the state is not reset between sessions.

Shape suffixes as in `fsvae.baselines.sequence`.
"""

from __future__ import annotations

from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceNetwork, shifted
from fsvae.baselines.settings import GRU4RecConfig
from fsvae.data.chunks import ChunkBatch


class GRU4RecNetwork(SequenceNetwork):
    """A network whose state is the GRU's hidden state, zero before the first listen."""

    name = "GRU4Rec"

    def __init__(self, config: GRU4RecConfig, vectors_VD: Tensor, n_catalogue: int) -> None:
        """Build the network around a track space, as `SequenceNetwork` does."""
        super().__init__(config, vectors_VD, n_catalogue, config.hidden)
        self.gru = nn.GRU(vectors_VD.shape[1] + 1, config.hidden, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, H]."""
        after_BTH, _ = self.gru(self.dropout(self.heard(batch.track_BT)))
        return shifted(self.dropout(after_BTH), after_BTH.new_zeros(after_BTH.shape[-1]))
