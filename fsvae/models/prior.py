"""The prior p(z), before the recent listens are known."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Prior(NamedTuple):
    """A diagonal Gaussian p(z | s)."""

    mean: Tensor
    """[N, Z]"""
    log_variance: Tensor
    """[N, Z]"""


class SlowPrior(nn.Module):
    """A map from the slow encoding to a prior, so that the KL measures how far the mood departs from the taste."""

    _LOG_VARIANCE_LIMIT = 12.0

    def __init__(self, slow_dim: int, latent_dim: int) -> None:
        """Build the heads; before training they give the standard normal for all users."""
        super().__init__()
        self.mean = nn.Linear(slow_dim, latent_dim)
        self.log_variance = nn.Linear(slow_dim, latent_dim)
        for head in (self.mean, self.log_variance):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, slow_NE: Tensor) -> Prior:
        """Return the prior of each slow encoding [N, E]."""
        log_variance = self.log_variance(slow_NE).clamp(-self._LOG_VARIANCE_LIMIT, self._LOG_VARIANCE_LIMIT)
        return Prior(self.mean(slow_NE), log_variance)
