"""The decoder from the latent to the next track, as a point in the track space (paper, section 3)."""

from __future__ import annotations

from torch import Tensor, nn


class Decoder(nn.Module):
    """Two-layer MLP with LeakyReLU, from the latent to the expected track vector and the query.

    The two differ. The expected vector has the least distance to the possible next tracks on average (the mean of the
    Gaussian likelihood), but the tracks nearest to an average are seldom the likely ones. So a model with a track
    softmax decodes a second point, the query, whose nearest tracks are the likely ones.
    """

    def __init__(self, latent_dim: int, hidden: int, dim: int, with_query: bool) -> None:
        """Build an MLP from `latent_dim` to the `dim` dimensions of the track space, linear without hidden units."""
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(latent_dim, hidden), nn.LeakyReLU()) if hidden else nn.Identity()
        self.point = nn.Linear(hidden or latent_dim, dim)
        self.query = nn.Linear(hidden or latent_dim, dim) if with_query else None

    def forward(self, z_NZ: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected track vectors [N, D] and the queries [N, D], which are equal for a model without them."""
        hidden_N = self.hidden(z_NZ)
        point_ND = self.point(hidden_N)
        return point_ND, point_ND if self.query is None else self.query(hidden_N)
