"""The joint latent: a distribution given by both encoders (paper, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Posterior(NamedTuple):
    """A diagonal Gaussian q(z | s, x), or a point if it has no variance."""

    mean: Tensor
    """[N, Z]"""
    log_variance: Tensor | None
    """[N, Z], or None for a deterministic latent."""

    def sample(self) -> Tensor:
        """Draw z [N, Z] by the reparametrisation trick (Kingma and Welling, 2014)."""
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)


class Latent(nn.Module):
    """A map from the joint encoding to a posterior."""

    _LOG_VARIANCE_LIMIT = 12.0

    def __init__(self, inputs: int, dim: int, gaussian: bool, initial_log_variance: float) -> None:
        """Build the heads.

        Args:
            inputs: size of the joint encoding.
            dim: number of latent dimensions, Z.
            gaussian: a Gaussian posterior, or a point (the paper's non-probabilistic ablation).
            initial_log_variance: log variance at the start; near 0 the sampling noise hides the signal at first.
        """
        super().__init__()
        self.mean = nn.Linear(inputs, dim)
        self.log_variance: nn.Linear | None = None
        if gaussian:
            self.log_variance = nn.Linear(inputs, dim)
            nn.init.zeros_(self.log_variance.weight)
            nn.init.constant_(self.log_variance.bias, initial_log_variance)

    def forward(self, joint_NJ: Tensor) -> Posterior:
        """Return the posterior of each joint encoding [N, J]."""
        if self.log_variance is None:
            return Posterior(self.mean(joint_NJ), None)
        log_variance = self.log_variance(joint_NJ).clamp(-self._LOG_VARIANCE_LIMIT, self._LOG_VARIANCE_LIMIT)
        return Posterior(self.mean(joint_NJ), log_variance)
