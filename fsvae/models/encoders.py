"""The two clocks: an MLP over slow features and an LSTM over recent listens (paper, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
"""LSTM state (h, c), each [layers, B, H]."""


class SlowEncoder(nn.Module):
    """Two-layer MLP with LeakyReLU; an unknown user is encoded as zero."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean_D: Tensor, std_D: Tensor, hidden: int, dim: int) -> None:
        """Build the MLP; `mean_D` and `std_D` normalise the snapshots and come from the training period."""
        super().__init__()
        self.register_buffer("mean", mean_D)
        self.register_buffer("std", std_D)
        self.mlp = nn.Sequential(nn.Linear(len(mean_D), hidden), nn.LeakyReLU(), nn.Linear(hidden, dim), nn.LeakyReLU())

    def forward(self, slow_SD: Tensor) -> Tensor:
        """Encode snapshots [S, D], whose first feature is `known`, to [S, E]."""
        known = slow_SD[:, :1]
        encoded: Tensor = self.mlp((slow_SD - self.mean) / self.std)
        return encoded * known


class FastEncoder(nn.Module):
    """Two-layer LSTM over listens; its output at a listen is the fast state after it."""

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        """Build an LSTM over `inputs` features."""
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, layers, batch_first=True)

    @property
    def dim(self) -> int:
        """Return the size of the fast state."""
        return self.lstm.hidden_size

    def before(self, x_BTX: Tensor) -> Tensor:
        """Return the state before each position, [B, T, H]: zero before the first, then the LSTM run from there."""
        after_BTH, _ = self.lstm(x_BTX)  # the last step is not needed, but an LSTM refuses an empty sequence
        return torch.cat([after_BTH.new_zeros(len(x_BTX), 1, self.dim), after_BTH[:, :-1]], dim=1)

    def zero_state(self, batch: int) -> State:
        """Return the state before any listen."""
        weight = next(self.lstm.parameters())
        zero = weight.new_zeros(self.lstm.num_layers, batch, self.dim)
        return zero, zero
