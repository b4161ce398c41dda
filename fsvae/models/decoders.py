"""From the latent to the next track, as a point in the track space (paper, section 3)."""

from __future__ import annotations

from torch import Tensor, nn


class Decoder(nn.Module):
    """Two-layer MLP with LeakyReLU."""

    def __init__(self, latent_dim: int, hidden: int, dim: int) -> None:
        """Build an MLP from `latent_dim` to the `dim` dimensions of the track space."""
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(latent_dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, dim))

    def forward(self, z_NZ: Tensor) -> Tensor:
        """Return the predicted track vectors [N, 80]."""
        y_ND: Tensor = self.mlp(z_NZ)
        return y_ND
