"""The gates: how far each expert of the memory, and the network, are believed.

    p(y) = sum_k g_k (c_k(y) - d_k)+ / n_k + sum_b a_b [y in bucket b] / m_b + (g_0 + sum_k g_k d_k D_k / n_k) q(y)

with the counts c of experts k, their totals n, discounts d and numbers of distinct followers D (absolute discounting,
Ney et al., 1994), the gates a and numbers m of tracks of age buckets b, and the network's softmax q. The gates g and a,
with the network's g_0, sum to 1, so p does over all tracks.

Legend: N targets, Z latent, E experts, X contexts, B age buckets, G = E + B + 1 gates, R records, Q request features,
S inputs of the gates without the latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fsvae.memory.contexts import AGES, CONTEXT_OF, DISCOUNTED, EXPERTS, LEAST_TOTAL, N_CONTEXTS
from fsvae.memory.supports import RECORD_HALF_LIVES, Supports

_CLOSED = -1e9


class Gates(NamedTuple):
    """The gates of N targets, and the weights of counts that follow from them."""

    expert_NE: Tensor
    """Gate of each expert, before its discount is taken off."""
    age_NB: Tensor
    """Gate of each age bucket."""
    rest_N: Tensor
    """Share of the network: its own gate, and what the discounts leave to it."""
    weight_NE: Tensor
    """Weight of a count of each expert: its gate over its total."""
    less_NE: Tensor
    """What each counted track of an expert loses to the network: the weight times the discount."""
    age_weight_NB: Tensor
    """Probability of each track of an age bucket: the gate over the number of its tracks."""
    inputs_NS: Tensor
    """What the gates read of the request and the memory, in the order of `MemoryGates.forward`."""

    def of_target(self, supports: Supports) -> Tensor:
        """Return the memory's part of p(target), [N]: without what the network's share adds."""
        counted = (supports.count_NE > 0).to(self.less_NE.dtype)
        found = (self.weight_NE * supports.count_NE - self.less_NE * counted).sum(dim=1)
        bucket_N1 = supports.age_N.clamp(min=0)[:, None]
        in_bucket = self.age_weight_NB.gather(1, bucket_N1)
        return found + torch.where(supports.age_N >= 0, in_bucket[:, 0], 0.0)


class MemoryGates(nn.Module):
    """An MLP over the latent, the request, what supports each expert, and the experts' track records."""

    enabled: Tensor
    """[G] whether each expert, each age bucket and the network may be believed."""
    discounted: Tensor
    """[E] whether each expert is discounted."""
    context: Tensor
    """[E] context of each expert."""
    read: Tensor
    """[S] 1 for inputs of the request and of what may be believed, 0 for others, which are not read."""

    def __init__(self, latent_dim: int, request_dim: int, hidden: int, enabled: list[bool], records: bool) -> None:
        """Build the MLP.

        Args:
            latent_dim: size of the latent.
            request_dim: number of request features.
            hidden: hidden units.
            enabled: whether each expert, then each age bucket, may be believed, [E + B].
            records: read the track records; otherwise the MLP is without these inputs.
        """
        super().__init__()
        self.records = records
        experts = len(EXPERTS) * (1 + records * len(RECORD_HALF_LIVES))
        self.n_inputs = request_dim + experts + 2 * N_CONTEXTS + AGES
        self.mlp = nn.Sequential(
            nn.Linear(latent_dim + self.n_inputs, hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, len(EXPERTS) + AGES + 1),
        )
        self.discount = nn.Parameter(torch.zeros(len(EXPERTS)))
        self.register_buffer("enabled", torch.tensor([*enabled, True]))
        self.register_buffer("discounted", torch.from_numpy(DISCOUNTED), persistent=False)
        self.register_buffer("context", torch.from_numpy(CONTEXT_OF), persistent=False)
        of_expert, of_age = torch.split(torch.tensor(enabled).float(), [len(EXPERTS), AGES])
        of_context = torch.zeros(N_CONTEXTS).scatter_reduce(0, self.context, of_expert, "amax")
        parts = [torch.ones(request_dim), of_expert, of_context, of_context, of_age]
        parts += [of_expert] * (records * len(RECORD_HALF_LIVES))
        self.register_buffer("read", torch.cat(parts), persistent=False)

    def forward(self, z_NZ: Tensor, request_NQ: Tensor, supports: Supports) -> Gates:
        """Return the gates of N targets; experts without support are closed.

        Args:
            z_NZ: the latent.
            request_NQ: the features of the request.
            supports: what the memory held before each target; its own track is not read.
        """
        experts = len(EXPERTS)
        inputs = [
            request_NQ,
            torch.log1p(supports.total_NE) / 3,
            torch.log1p(supports.distinct_NX) / 3,
            supports.top_NX,
            torch.log1p(supports.ages_NB) / 3,
        ]
        if self.records:
            inputs.append(supports.record_NR)
        supported = torch.cat([supports.total_NE > LEAST_TOTAL, supports.ages_NB > 0], dim=1)
        open_NG = torch.cat([supported, supported.new_ones(len(z_NZ), 1)], dim=1) & self.enabled
        inputs_NS = torch.cat(inputs, dim=1) * self.read
        gate_NG = self.mlp(torch.cat([z_NZ, inputs_NS], dim=1)).float().masked_fill(~open_NG, _CLOSED).softmax(dim=1)
        expert_NE = gate_NG[:, :experts]
        weight_NE = expert_NE / supports.total_NE.clamp(min=LEAST_TOTAL)
        less_NE = weight_NE * (torch.sigmoid(self.discount) * self.discounted)
        rest_N = gate_NG[:, -1] + (less_NE * supports.distinct_NX[:, self.context]).sum(dim=1)
        age_NB = gate_NG[:, experts:-1]
        return Gates(expert_NE, age_NB, rest_N, weight_NE, less_NE, age_NB / supports.ages_NB.clamp(min=1), inputs_NS)
