"""JODIE (Kumar, Zhang and Leskovec, KDD 2019): two RNNs that update each other, and a user projected through time.

Kept: a listen updates the user's dynamic embedding from the track's and the track's from the user's; the user's is
projected by the elapsed time, (1 + w * pause) * u; a linear layer with a squared loss predicts the next track's vector
from the projected user and from the static and dynamic embeddings of the track heard last. Different: the static
embedding of a track starts as its vector; its dynamic one starts from that, anew for each chunk, and only the chunk's
own listens update it, so that chunks can be trained in any order; users have no static embedding, as a one-hot code
cannot represent new users; the terms that keep embeddings from moving fast are left out; there is a second linear
layer, for the query.

Shape suffixes as in `fsvae.baselines.sequence`; H is the size of each dynamic embedding, F listen features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceNetwork, shifted
from fsvae.baselines.settings import JODIEConfig
from fsvae.data.chunks import ChunkBatch
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES


class JODIENetwork(SequenceNetwork):
    """A network whose state joins the projected user, the last track's dynamic embedding and its vector."""

    name = "JODIE"

    def __init__(self, config: JODIEConfig, vectors_VD: Tensor, n_catalogue: int) -> None:
        """Build the network around a track space, as `SequenceNetwork` does."""
        told = vectors_VD.shape[1] + 1
        super().__init__(config, vectors_VD, n_catalogue, 2 * config.hidden + told)
        self.first_item = nn.Linear(told, config.hidden)
        self.first_user = nn.Parameter(torch.zeros(config.hidden))
        self.user_rnn = nn.RNNCell(config.hidden + len(LISTEN_FEATURES), config.hidden)
        self.item_rnn = nn.RNNCell(config.hidden + len(LISTEN_FEATURES), config.hidden)
        self.projection = nn.Linear(1, config.hidden, bias=False)

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the state before each position, [B, T, 2 H + D + 1]; the first position has no last track."""
        told_BTI = self.heard(batch.track_BT)
        user_BTH, item_BTH = self.dynamics(batch.track_BT, told_BTI, batch.features_BTF)
        pause = REQUEST_FEATURES.index("log_gap")
        user_BTH = shifted(user_BTH, self.first_user) * (1 + self.projection(batch.request_BTR[..., [pause]]))
        last_BTI = torch.cat([item_BTH, told_BTI], dim=-1)
        return torch.cat([user_BTH, shifted(last_BTI, last_BTI.new_zeros(last_BTI.shape[-1]))], dim=-1)

    def dynamics(self, track_BT: Tensor, told_BTI: Tensor, features_BTF: Tensor) -> tuple[Tensor, Tensor]:
        """Return the dynamic embeddings of the user and of the track heard, [B, T, H] each, after each listen."""
        # a track's embedding is kept at the position where it is heard first
        slot_BT = (track_BT[:, :, None] == track_BT[:, None, :]).int().argmax(dim=-1)
        items_BTH = self.first_item(told_BTI)
        user_BH = self.first_user.expand(len(track_BT), -1)
        chunk_B = torch.arange(len(track_BT), device=track_BT.device)
        users, items = [], []
        for position in range(track_BT.shape[1]):
            at = (chunk_B, slot_BT[:, position])
            item_BH, features_BF = items_BTH[at], features_BTF[:, position]
            item_after_BH = self.item_rnn(torch.cat([user_BH, features_BF], dim=-1), item_BH)
            user_BH = self.user_rnn(torch.cat([item_BH, features_BF], dim=-1), user_BH)
            items_BTH = items_BTH.index_put(at, item_after_BH)
            users.append(user_BH)
            items.append(item_after_BH)
        return torch.stack(users, dim=1), torch.stack(items, dim=1)
