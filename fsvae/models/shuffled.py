"""The paper's ablation "fast features shuffled": the recent listens without their order.

A target at position j of a chunk has the listens 0 .. j - 1 before it. They are put in random order, each with its own
features (pause before it, hour, weekday, played fraction), and the LSTM runs over them from a zero state. Targets do
not share runs, so one target costs as much as a whole chunk in order.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.models.encoders import FastEncoder

_AT_ONCE = 256


def shuffled_states(
    encoder: FastEncoder, x_BTX: Tensor, chunk_N: Tensor, position_N: Tensor, at_random: bool
) -> Tensor:
    """Return the fast state of N targets after their listens in another order, [N, H].

    Args:
        encoder: the LSTM.
        x_BTX: inputs of the chunks' listens.
        chunk_N: int64 chunk of each target.
        position_N: int64 position of each target in its chunk; the listens before it are put in another order.
        at_random: draw each order anew from torch's generator; otherwise it is fixed for each position.
    """
    if len(position_N) == 0:
        return x_BTX.new_zeros(0, encoder.dim)
    by_position = torch.argsort(position_N, stable=True)  # little padding
    states = []
    for rows in torch.split(by_position, _AT_ONCE):
        position = position_N[rows]
        longest = int(position[-1])
        order_NT = _drawn(position, longest) if at_random else _fixed(position, longest)
        x_NTX = x_BTX[chunk_N[rows][:, None], order_NT]
        states.append(encoder.before(x_NTX)[torch.arange(len(rows)), position])
    return torch.cat(states)[torch.argsort(by_position)]


def _drawn(position_N: Tensor, longest: int) -> Tensor:
    """Return for each target its positions 0 .. position - 1 in random order, then others, [N, longest + 1].

    The last step of the LSTM is needed because `FastEncoder.before` gives no state after it.
    """
    key_NT = torch.rand(len(position_N), longest + 1, device=position_N.device)
    behind = torch.arange(longest + 1, device=position_N.device) >= position_N[:, None]
    return key_NT.masked_fill(behind, 2.0).argsort(dim=1)


def _fixed(position_N: Tensor, longest: int) -> Tensor:
    order_NT = torch.zeros(len(position_N), longest + 1, dtype=torch.int64)
    for row, position in enumerate(position_N.tolist()):
        order_NT[row, :position] = torch.from_numpy(_order(position))
    return order_NT.to(position_N.device)


@cache
def _order(position: int) -> NDArray[np.int64]:
    return np.random.default_rng(position).permutation(position)
