"""VAE-CF, or Mult-VAE (Liang et al., WWW 2018): a variational autoencoder of the bag of listens.

Kept: the L2-normalised bag with dropout, an encoder with one tanh layer, a Gaussian latent whose KL term is annealed
from 0 to a weight below 1 (section 2.2.2), the multinomial likelihood (a softmax over tracks). Different: the bag holds
the chunk's listens before a position, repeats counted, and the next track is predicted instead of the bag itself, at
all positions in one pass: the first layer of a bag is a running sum of its tracks' rows. Tracks outside the catalogue
are left out of the bag.

Shape suffixes as in `fsvae.baselines.sequence`; H hidden units of the encoder, Z latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsvae.baselines.sequence import SequenceNetwork, at_targets, shifted
from fsvae.baselines.settings import MultVAEConfig
from fsvae.data.chunks import ChunkBatch
from fsvae.models.base import warmed_up
from fsvae.models.losses import kl_per_dimension
from fsvae.models.posterior import Latent, Posterior


class MultVAENetwork(SequenceNetwork):
    """A network whose state is the latent of the bag of listens before a position."""

    name = "VAE-CF"

    def __init__(self, config: MultVAEConfig, vectors_VD: Tensor, n_catalogue: int) -> None:
        """Build the network around a track space, as `SequenceNetwork` does."""
        super().__init__(config, vectors_VD, n_catalogue, config.latent_dim)
        self.config = config
        self.rows = nn.Embedding(n_catalogue + 1, config.hidden, padding_idx=n_catalogue)
        self.bias = nn.Parameter(torch.zeros(config.hidden))
        self.latent = Latent(config.hidden, config.latent_dim, True, config.initial_log_variance)
        nn.init.xavier_normal_(self.rows.weight)
        with torch.no_grad():
            self.rows.weight[n_catalogue] = 0

    def first_layer(self, track_BT: Tensor) -> Tensor:
        """Return the first layer of the L2-normalised bag before each position, [B, T, H], without its bias."""
        row_BT = track_BT.clamp(max=self.n_catalogue)
        same_BTT = row_BT[:, :, None] == row_BT[:, None, :]
        inside_BT = (row_BT < self.n_catalogue).float()
        # a track's count goes from n to n + 1, so the sum of squared counts grows by 2 n + 1
        before_BT = same_BTT.tril(diagonal=-1).sum(dim=-1)
        norm_BT = ((2 * before_BT + 1) * inside_BT).cumsum(dim=1).sqrt()
        if self.training:
            kept_BT = (torch.rand(track_BT.shape, device=track_BT.device) >= self.config.dropout).float()
            first_BT = same_BTT.int().argmax(dim=-1)
            inside_BT = inside_BT * kept_BT.gather(1, first_BT) / (1 - self.config.dropout)
        sum_BTH = (self.rows(row_BT) * inside_BT[..., None]).cumsum(dim=1)
        after_BTH = sum_BTH / norm_BT.clamp(min=1)[..., None]
        return shifted(after_BTH, after_BTH.new_zeros(after_BTH.shape[-1]))

    def before(self, batch: ChunkBatch) -> Tensor:
        """Return the mean of the latent before each position, [B, T, Z]."""
        return self.posterior(self.first_layer(batch.track_BT)).mean

    def posterior(self, first_layer: Tensor) -> Posterior:
        """Return the posterior of bags [..., H] from their first layer."""
        posterior: Posterior = self.latent(torch.tanh(first_layer + self.bias))
        return posterior

    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` -log p(y | z) + beta * KL, and its terms, as means over the batch's targets [nats]."""
        posterior = self.posterior(at_targets(self.first_layer(batch.track_BT), batch))
        y_ND, query_ND = self.decoder(posterior.sample())
        terms = self.next_track_loss(y_ND, query_ND, batch)
        kl = kl_per_dimension(posterior).sum() / max(len(posterior.mean), 1)
        beta = warmed_up(self.config.beta, epochs, self.config.beta_warmup_epochs)
        return terms | {"kl": kl, "beta": kl.new_tensor(beta), "loss": terms["loss"] + beta * kl}
