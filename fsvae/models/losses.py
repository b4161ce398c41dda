"""The terms of the loss: -log p(y | z) + beta * KL(q(z | s, x) || p(z)) (paper, section 3), all in nats a target."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from scipy.special import roots_gegenbauer
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from fsvae.models.posterior import Posterior
from fsvae.models.prior import Prior


class Likelihood(nn.Module, ABC):
    """A likelihood p(y | z), given the point of the track space decoded from z."""

    @abstractmethod
    def expected(self, point_ND: Tensor) -> Tensor:
        """Return the expected track vectors, [N, D]."""

    @abstractmethod
    def forward(self, y_hat_ND: Tensor, y_ND: Tensor) -> Tensor:
        """Return -log p(y | z) of each target, [N], from the expected track vectors."""


class GaussianLikelihood(Likelihood):
    """p(y | z) = N(y; y_hat, sigma^2 I) with one learned sigma, which balances the terms of the loss."""

    def __init__(self, dim: int) -> None:
        """Start at the variance of a unit vector's coordinate, 1 / dim."""
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(-math.log(dim)))

    def expected(self, point_ND: Tensor) -> Tensor:
        """Return the points as they are."""
        return point_ND

    def forward(self, y_hat_ND: Tensor, y_ND: Tensor) -> Tensor:
        """Return -log p(y | z) of each target, [N]."""
        squared = ((y_hat_ND - y_ND) ** 2).sum(dim=-1)
        dim = y_ND.shape[-1]
        return 0.5 * (squared * torch.exp(-self.log_variance) + dim * (self.log_variance + math.log(2 * math.pi)))


class CosineLikelihood(Likelihood):
    """von Mises-Fisher: p(y | z) = exp(kappa * cos(y_hat, y)) / Z(kappa) over unit vectors, with one learned kappa.

    The density is relative to the uniform one: without a direction (kappa = 0) the loss is 0. Z is the mean of
    exp(kappa * t) over the cosine t of a random direction, by Gauss-Gegenbauer quadrature (scipy has the Bessel
    functions of the closed form, torch has not; the two agree to 1e-6).
    """

    nodes: Tensor
    log_weights: Tensor

    _NODES = 256

    def __init__(self, dim: int) -> None:
        """Start at kappa = dim, where the mean cosine is about 0.6."""
        super().__init__()
        nodes, weights = roots_gegenbauer(self._NODES, (dim - 2) / 2)
        weights = weights.clip(min=1e-300) / weights.sum()
        self.register_buffer("nodes", torch.from_numpy(nodes).float(), persistent=False)
        self.register_buffer("log_weights", torch.from_numpy(weights).log().float(), persistent=False)
        self.log_kappa = nn.Parameter(torch.tensor(math.log(dim)))

    def _exponents(self) -> Tensor:
        return self.log_kappa.exp() * self.nodes + self.log_weights

    def expected(self, point_ND: Tensor) -> Tensor:
        """Return the mean of the distribution around each point's direction; its length is the mean cosine."""
        mean_cosine = (self._exponents().softmax(dim=0) * self.nodes).sum()
        return mean_cosine.detach() * normalize(point_ND, dim=-1)

    def forward(self, y_hat_ND: Tensor, y_ND: Tensor) -> Tensor:
        """Return -log p(y | z) of each target, [N]; only the direction of y_hat counts."""
        return self._exponents().logsumexp(dim=0) - self.log_kappa.exp() * cosine_similarity(y_hat_ND, y_ND, dim=-1)


class TrackSoftmax(nn.Module):
    """-log softmax over tracks of scale * cos(query, track): the query's direction must single out the target."""

    def __init__(self, max_tracks: int) -> None:
        """Compare with all tracks, or with `max_tracks` drawn anew for each batch where the catalogue is larger."""
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self._max_tracks = max_tracks

    def forward(self, query_ND: Tensor, target_N: Tensor, tracks_CD: Tensor) -> Tensor:
        """Return the cross-entropy of each target (index of `tracks_CD`, of which only the directions count), [N].

        Drawn tracks stand for C / max_tracks tracks each (Bengio and Senecal, 2008), and never for the target.
        """
        unit_ND = self.log_scale.exp() * normalize(query_ND, dim=-1)
        if len(tracks_CD) <= self._max_tracks:
            return cross_entropy(unit_ND @ normalize(tracks_CD, dim=-1).T, target_N, reduction="none")
        drawn_M = torch.randint(len(tracks_CD), (self._max_tracks,), device=target_N.device)
        logits_NM = unit_ND @ normalize(tracks_CD[drawn_M], dim=-1).T + math.log(len(tracks_CD) / self._max_tracks)
        logits_NM = logits_NM.masked_fill(drawn_M == target_N[:, None], -torch.inf)
        of_target_N = (unit_ND * normalize(tracks_CD[target_N], dim=-1)).sum(dim=-1)
        return torch.logaddexp(of_target_N, logits_NM.logsumexp(dim=-1)) - of_target_N


def kl_per_dimension(posterior: Posterior, prior: Prior | None = None) -> Tensor:
    """Return KL(q || p) of each target and latent dimension, [N, Z]; zero for a deterministic latent.

    Args:
        posterior: q(z | s, x).
        prior: p(z | s); None: the standard normal.
    """
    if posterior.log_variance is None:
        return torch.zeros_like(posterior.mean)
    variance = torch.exp(posterior.log_variance)
    if prior is not None:
        squared = variance + (posterior.mean - prior.mean) ** 2
        return 0.5 * (squared * torch.exp(-prior.log_variance) - 1.0 + prior.log_variance - posterior.log_variance)
    return 0.5 * (variance + posterior.mean**2 - 1.0 - posterior.log_variance)


def kl_loss(kl_NZ: Tensor, free_bits: float) -> Tensor:
    """Return the KL term: per dimension the mean over targets, but at least `free_bits` nats (Kingma et al., 2016)."""
    return kl_NZ.mean(dim=0).clamp(min=free_bits).sum()
