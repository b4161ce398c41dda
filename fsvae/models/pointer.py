"""The repeat head: a pointer at the recent listens that predicts which track is played again.

p(track) = g * pointer(track) + (1 - g) * softmax(track), and the expected track vector is mixed in the same way. The
pointer attends to the listens from the anchor up to the target (fewer than 2 L) and adds up equal tracks. Its query is
computed from the latent and the last two listens, a key from a listen and the one before it. A listen that followed an
earlier occurrence of the last track, or of the last two tracks, has a learned bonus, and the latest such listen one
more, so that tracks played in a row need not be memorised.
The gate is the weight of a sentinel among the listens, so that it depends on how well they match (Merity et al.,
"Pointer sentinel mixture models", ICLR 2017; See et al., "Get to the point", ACL 2017).

Shape suffixes: B histories, T listens, N targets, M most targets of a history, K key, C catalogue, X inputs, P pair of
inputs, Z latent, D track space.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_NEVER = -1e9
_LEAST = 1e-30


class Past(NamedTuple):
    """The listens of B histories that the pointer reads for N targets."""

    x_BTX: Tensor
    """Inputs of the LSTM."""
    allowed_BT: Tensor
    """bool: whether the track is in the catalogue; others cannot be recommended."""
    track_BT: Tensor
    """int64 track index."""
    vector_BTD: Tensor
    """Track vectors."""
    history_N: Tensor
    """int64 history of each target, ascending."""
    position_N: Tensor
    """int64: the listens before this position are the target's past."""


class Repeat(NamedTuple):
    """The output of the pointer for N targets."""

    share_NT: Tensor
    """Share of each past listen; sums to 1, or to 0 where there is none."""
    track_NT: Tensor
    """int64 track index of the listens; where the share is 0, any of the catalogue."""
    mean_ND: Tensor
    """Mean track vector of the listens by their shares."""
    log_gate_N: Tensor
    """log g, the log weight of the pointer."""
    log_rest_N: Tensor
    """log(1 - g)."""


class RepeatHead(nn.Module):
    """A pointer and its sentinel."""

    def __init__(self, state: int, inputs: int, dim: int, history: int) -> None:
        """Build the head.

        Args:
            state: size of the vector from which queries are computed.
            inputs: size of the LSTM's inputs, from which keys are computed.
            dim: size of keys.
            history: L.
        """
        super().__init__()
        self.key = nn.Linear(2 * inputs, dim)
        self.query = nn.Linear(state + 2 * inputs, dim)
        self.sentinel = nn.Linear(state, 1)
        nn.init.constant_(self.sentinel.bias, math.log(2 * history))  # initial weight: that of all listens together
        self.age = nn.Parameter(torch.zeros(2 * history))
        self.followed = nn.Parameter(torch.full((4,), 2.0))  # learned slowly if started at 0

    def forward(self, state_NZ: Tensor, past: Past) -> Repeat:
        """Return the shares of each target's past listens."""
        pair_BTP = _last_two(past.x_BTX)
        last_NP = pair_BTP.flatten(0, 1).index_select(0, past.history_N * pair_BTP.shape[1] + past.position_N)
        query_NK = self.query(torch.cat([state_NZ, last_NP], dim=-1))
        key_BTK = self.key(pair_BTP[:, 1:])
        logit_NT = _per_history(query_NK * key_BTK.shape[-1] ** -0.5, key_BTK.transpose(1, 2), past.history_N)
        age_NT = past.position_N[:, None] - 1 - torch.arange(past.track_BT.shape[1], device=state_NZ.device)
        seen_NT = (age_NT >= 0) & past.allowed_BT[past.history_N]
        for bonus, followed_NT in zip(self.followed, _followed(past, seen_NT), strict=True):
            logit_NT = logit_NT + bonus * followed_NT
        logit_NT = (logit_NT + self.age[age_NT.clamp(min=0)]).masked_fill(~seen_NT, _NEVER)
        log_NT = torch.cat([logit_NT, self.sentinel(state_NZ)], dim=1).log_softmax(dim=1)
        log_gate_N = log_NT[:, :-1].logsumexp(dim=1).clamp(min=_NEVER)  # -inf without listens
        share_NT = (log_NT[:, :-1] - log_gate_N[:, None]).exp() * seen_NT
        return Repeat(
            share_NT=share_NT,
            track_NT=past.track_BT[past.history_N].masked_fill(~seen_NT, 0),
            mean_ND=_per_history(share_NT, past.vector_BTD, past.history_N),
            log_gate_N=log_gate_N,
            log_rest_N=log_NT[:, -1],
        )


def _last_two(x_BTX: Tensor) -> Tensor:
    """Return the last two inputs before each position and after the last, [B, T + 1, P]; zeros before the first."""
    padded_BTX = pad(x_BTX, (0, 0, 2, 0))
    return torch.cat([padded_BTX[:, 1:], padded_BTX[:, :-1]], dim=-1)


def _followed(past: Past, seen_NT: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return which seen listens followed the track that is last before the target, and its last two, [N, T] each.

    Then the latest of either only, [N, T] each.
    """
    track_BT = pad(past.track_BT.masked_fill(~past.allowed_BT, -1), (2, 0), value=-1)
    last_BT, second_BT = track_BT[:, 1:], track_BT[:, :-1]
    at_N = past.history_N * last_BT.shape[1] + past.position_N
    last_N1, second_N1 = last_BT.flatten()[at_N][:, None], second_BT.flatten()[at_N][:, None]
    one_NT = seen_NT & (last_BT[:, :-1][past.history_N] == last_N1) & (last_N1 >= 0)
    two_NT = one_NT & (second_BT[:, :-1][past.history_N] == second_N1) & (second_N1 >= 0)
    return one_NT, two_NT, _latest(one_NT), _latest(two_NT)


def _latest(x_NT: Tensor) -> Tensor:
    """Return rows with only their last true value."""
    return x_NT & (x_NT.flip(1).cumsum(dim=1).flip(1) == 1)


def _per_history(x_NK: Tensor, y_BKJ: Tensor, history_N: Tensor) -> Tensor:
    """Return each row times the matrix of its history, [N, J], with one matrix product a history."""
    size_B = torch.bincount(history_N, minlength=len(y_BKJ))
    most = int(size_B.max()) if len(history_N) else 0
    first_B = torch.cumsum(size_B, dim=0) - size_B
    flat_N = history_N * most + torch.arange(len(history_N), device=history_N.device) - first_B[history_N]
    x_BMK = x_NK.new_zeros(len(y_BKJ) * most, x_NK.shape[-1]).index_copy(0, flat_N, x_NK)
    return (x_BMK.view(len(y_BKJ), most, x_NK.shape[-1]) @ y_BKJ).flatten(0, 1).index_select(0, flat_N)


def mixture_loss(softmax_N: Tensor, repeat: Repeat, target_N: Tensor) -> Tensor:
    """Return -log p(target) of the mixture, [N], from that of the softmax alone."""
    of_target_N = (repeat.share_NT * (repeat.track_NT == target_N[:, None])).sum(dim=-1)
    return -torch.logaddexp(repeat.log_gate_N + of_target_N.clamp(min=_LEAST).log(), repeat.log_rest_N - softmax_N)


def mixture_mean(y_ND: Tensor, repeat: Repeat) -> Tensor:
    """Return the expected track vector of the mixture, [N, D], from that of the model without a pointer."""
    return repeat.log_rest_N.exp()[:, None] * y_ND + repeat.log_gate_N.exp()[:, None] * repeat.mean_ND


def mixture_scores(log_softmax_NC: Tensor, repeat: Repeat) -> Tensor:
    """Return log p of every track of the catalogue, [N, C]."""
    scores_NC = log_softmax_NC + repeat.log_rest_N[:, None]
    share_NC = torch.zeros_like(scores_NC).scatter_add_(1, repeat.track_NT, repeat.share_NT)
    log_share_NT = share_NC.gather(1, repeat.track_NT).clamp(min=_LEAST).log()
    mixed_NT = torch.logaddexp(scores_NC.gather(1, repeat.track_NT), repeat.log_gate_N[:, None] + log_share_NT)
    return scores_NC.scatter(1, repeat.track_NT, mixed_NT)
