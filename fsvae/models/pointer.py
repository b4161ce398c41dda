"""The repeat head: people play again what they have played; a pointer at the recent listens says which.

p(track) = g * pointer(track) + (1 - g) * softmax(track). The pointer attends to the listens from the anchor up to the
target (fewer than 2 L) and adds up equal tracks; both its query and the gate g are read off the latent. A key is made
of a listen and of the one before it, so that what followed the last track once is found again (See et al., "Get to the
point", ACL 2017; Merity et al., "Pointer sentinel mixture models", ICLR 2017).

Shape suffixes: B histories, T listens, N targets, M most targets of a history, K key, C catalogue, X inputs, Z latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

_NEVER = -1e9
_LEAST = 1e-30


class Past(NamedTuple):
    """The listens of B histories that N targets look back on."""

    x_BTX: Tensor
    """Inputs of the LSTM."""
    allowed_BT: Tensor
    """bool: tracks of the catalogue; others cannot be recommended."""
    track_BT: Tensor
    """int64"""
    history_N: Tensor
    """int64 history of each target, ascending."""
    position_N: Tensor
    """int64: the listens before this position are the target's past."""


class Repeat(NamedTuple):
    """What the pointer says of N targets."""

    share_NT: Tensor
    """Share of each past listen; sums to 1, or to 0 where there is none."""
    track_NT: Tensor
    """int64 tracks of the listens; where the share is 0, any of the catalogue."""
    log_gate_N: Tensor
    """log g: how much the pointer counts."""
    log_rest_N: Tensor
    """log(1 - g)."""


class RepeatHead(nn.Module):
    """A pointer and its gate."""

    def __init__(self, state: int, inputs: int, dim: int, history: int) -> None:
        """Build the head.

        Args:
            state: size of the vector that queries are read off.
            inputs: size of the LSTM's inputs, which keys are made of.
            dim: size of keys.
            history: L.
        """
        super().__init__()
        self.key = nn.Linear(2 * inputs, dim)
        self.query = nn.Linear(state, dim)
        self.gate = nn.Linear(state, 1)
        self.age = nn.Parameter(torch.zeros(2 * history))

    def forward(self, state_NZ: Tensor, past: Past) -> Repeat:
        """Return the shares of each target's past listens."""
        x_BTX, position_N = past.x_BTX, past.position_N
        before_BTX = torch.cat([torch.zeros_like(x_BTX[:, :1]), x_BTX[:, :-1]], dim=1)
        key_BTK = self.key(torch.cat([x_BTX, before_BTX], dim=-1))
        logit_NT = self._products(self.query(state_NZ) * key_BTK.shape[-1] ** -0.5, key_BTK, past.history_N)
        at_T = torch.arange(x_BTX.shape[1], device=x_BTX.device)
        age_NT = position_N[:, None] - 1 - at_T
        seen_NT = (age_NT >= 0) & past.allowed_BT[past.history_N]
        logit_NT = (logit_NT + self.age[age_NT.clamp(min=0)]).masked_fill(~seen_NT, _NEVER)
        share_NT = logit_NT.softmax(dim=-1) * seen_NT
        gate_N = self.gate(state_NZ)[:, 0].masked_fill(~seen_NT.any(dim=-1), _NEVER)
        track_NT = past.track_BT[past.history_N].masked_fill(~seen_NT, 0)
        return Repeat(share_NT, track_NT, logsigmoid(gate_N), logsigmoid(-gate_N))

    def _products(self, query_NK: Tensor, key_BTK: Tensor, history_N: Tensor) -> Tensor:
        """Return each query times the keys of its history, [N, T]: one matrix product a history."""
        size_B = torch.bincount(history_N, minlength=len(key_BTK))
        most = int(size_B.max()) if len(history_N) else 0
        first_B = torch.cumsum(size_B, dim=0) - size_B
        flat_N = history_N * most + torch.arange(len(history_N), device=history_N.device) - first_B[history_N]
        query_BMK = query_NK.new_zeros(len(key_BTK) * most, query_NK.shape[-1]).index_copy(0, flat_N, query_NK)
        logit_BMT = query_BMK.view(len(key_BTK), most, -1) @ key_BTK.transpose(1, 2)
        return logit_BMT.flatten(0, 1).index_select(0, flat_N)


def mixture_loss(softmax_N: Tensor, repeat: Repeat, target_N: Tensor) -> Tensor:
    """Return -log p(target) of the mixture, [N], from that of the softmax alone."""
    of_target_N = (repeat.share_NT * (repeat.track_NT == target_N[:, None])).sum(dim=-1)
    return -torch.logaddexp(repeat.log_gate_N + of_target_N.clamp(min=_LEAST).log(), repeat.log_rest_N - softmax_N)


def mixture_scores(log_softmax_NC: Tensor, repeat: Repeat) -> Tensor:
    """Return log p of every track of the catalogue, [N, C]."""
    scores_NC = log_softmax_NC + repeat.log_rest_N[:, None]
    share_NC = torch.zeros_like(scores_NC).scatter_add_(1, repeat.track_NT, repeat.share_NT)
    log_share_NT = share_NC.gather(1, repeat.track_NT).clamp(min=_LEAST).log()
    mixed_NT = torch.logaddexp(scores_NC.gather(1, repeat.track_NT), repeat.log_gate_N[:, None] + log_share_NT)
    return scores_NC.scatter(1, repeat.track_NT, mixed_NT)
