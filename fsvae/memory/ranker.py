"""The last stage: the most probable tracks, ranked again by what the user did with each of them.

The mixture adds experts up; the ranker can also tell that a track which several of them name was heard a minute ago.
It moves probability among the first K tracks only, so that rows still sum to 1.

Legend: N targets, K candidates, F features of a candidate, S inputs of the gates, T tracks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fsvae.memory.contexts import EXPERTS, LEAST_TOTAL, N_OWN
from fsvae.memory.largest import largest
from fsvae.memory.rows import MemoryRows
from fsvae.memory.supports import Supports

LEAST = 1e-7
"""Probability by the mixture from which on a candidate is ranked again."""
_LEAST_SHARE = torch.tensor([0.01] * N_OWN + [1e-4] * (len(EXPERTS) - N_OWN))
"""[E] what is added to a candidate's share by an expert before its logarithm is taken."""
LATEST = 3
"""Number of the latest tracks that a candidate is compared with."""
N_FEATURES = len(EXPERTS) + 7 + LATEST
"""Of each candidate, about on one scale: the logs of its shares by all experts, log p by the mixture, by the
memory in it and by the network in it, how often the user has heard it, whether at all, the logs of how long ago, in
listens and in days, and its cosines with the latest tracks."""

_OF_P, _OF_MEMORY, _OF_NETWORK = range(len(EXPERTS), len(EXPERTS) + 3)
"""Places of the parts of log p among them."""


class Shortlist(NamedTuple):
    """The K most probable tracks before N targets."""

    track_NK: Tensor
    """int64 track index, most probable first."""
    p_NK: Tensor
    """Probability by the mixture."""
    features_NKF: Tensor
    """Features, F = N_FEATURES."""


def shortlist_of(
    p_NT: Tensor, of_network_NV: Tensor, supports: Supports, rows: MemoryRows, vectors_VD: Tensor, most: int
) -> Shortlist:
    """Return the most probable tracks before N targets and their features.

    Args:
        p_NT: probabilities by the mixture.
        of_network_NV: what the network adds to them, for the first tracks.
        supports: what the memory held before the targets.
        rows: the memory before the targets.
        vectors_VD: [V + 1, D] unit vectors of the first tracks, and zeros for all others.
        most: number of candidates, K; no more than there are tracks.
    """
    p_NK, track_NK = largest(p_NT, most)
    counts, ago = rows.candidates(track_NK.numpy())
    counts_NKE, ago_NK2 = torch.from_numpy(counts), torch.from_numpy(ago)
    other = len(vectors_VD) - 1
    # NO_KEY, before the first listen, is the place of the zeros, too
    latest_NLD = vectors_VD[torch.from_numpy(rows.latest(LATEST)).clamp(max=other)]
    share_NKE = counts_NKE / supports.total_NE[:, None].clamp(min=LEAST_TOTAL)
    placed_NK = track_NK < of_network_NV.shape[1]
    of_network_NK = of_network_NV.gather(1, track_NK.clamp(max=of_network_NV.shape[1] - 1)) * placed_NK
    parts_NK3 = torch.stack([p_NK, p_NK - of_network_NK, of_network_NK], dim=2)
    features = [
        (share_NKE + _LEAST_SHARE).log() / 2.3,
        parts_NK3.clamp(min=LEAST).log(),
        torch.log1p(counts_NKE[..., :1]) / 3,
        (ago_NK2[..., :1] > 0).float(),
        torch.log1p(ago_NK2) / 3,
        vectors_VD[track_NK.clamp(max=other)] @ latest_NLD.mT,
    ]
    return Shortlist(track_NK, p_NK, torch.cat(features, dim=2))


class Ranker(nn.Module):
    """An MLP over a candidate and the situation, added to its log p; before it is fitted it adds nothing."""

    mean: Tensor
    """[F] means of the features, by which they are brought to one scale (`normalise`)."""
    std: Tensor
    """[F] standard deviations of the features."""
    read: Tensor
    """[F] 1 for features that are read, 0 for those of experts that may not be believed."""

    def __init__(self, situation_dim: int, hidden: int, enabled: list[bool]) -> None:
        """Build the MLP.

        Args:
            situation_dim: number of inputs of the gates without the latent, S.
            hidden: hidden units.
            enabled: whether each expert may be believed, [E].
        """
        super().__init__()
        self.candidate = nn.Linear(N_FEATURES, hidden)
        self.situation = nn.Linear(situation_dim, hidden, bias=False)
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        self.linear = nn.Linear(N_FEATURES, 1, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.linear.weight)
        whole = enabled[0]  # the expert of the whole history
        read = [*enabled, *[True] * 3, *[whole] * 4, *[True] * LATEST]
        self.register_buffer("read", torch.tensor(read).float())
        self.register_buffer("mean", torch.zeros(N_FEATURES))
        self.register_buffer("std", torch.ones(N_FEATURES))

    def ignore_catalogue(self) -> None:
        """Stop reading what tells candidates in the catalogue from others: everybody's counts, the network's share."""
        self.read[N_OWN : len(EXPERTS)] = 0.0
        self.read[[_OF_MEMORY, _OF_NETWORK]] = 0.0

    def normalise(self, features_NKF: Tensor) -> None:
        """Take mean and standard deviation of each feature from those of some candidates."""
        self.mean.copy_(features_NKF.mean(dim=(0, 1)))
        self.std.copy_(features_NKF.std(dim=(0, 1), correction=0).clamp(min=0.05))

    def forward(self, features_NKF: Tensor, situation_NS: Tensor) -> Tensor:
        """Return the logits of the candidates, [N, K]: log p by the mixture, and what the MLP adds to it."""
        x_NKF = (features_NKF - self.mean) / self.std * self.read
        hidden = torch.relu(self.candidate(x_NKF) + self.situation(situation_NS)[:, None])
        added: Tensor = self.linear(x_NKF) + self.out(torch.relu(self.hidden(hidden)))
        return features_NKF[..., _OF_P] + added[..., 0]

    def ranked(self, candidates: Shortlist, situation_NS: Tensor) -> Tensor:
        """Return the new probabilities of the candidates, [N, K]; each row has the sum that it has by the mixture.

        A candidate with next to no probability keeps it: it may be a track that nobody has heard yet.
        """
        open_NK = candidates.p_NK > LEAST
        share_NK: Tensor = self(candidates.features_NKF, situation_NS).masked_fill(~open_NK, -torch.inf).softmax(dim=1)
        whole_N1 = (candidates.p_NK * open_NK).sum(dim=1, keepdim=True)
        return torch.where(open_NK, share_NK * whole_N1, candidates.p_NK)
