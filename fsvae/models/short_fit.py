"""A short fit of one part of a network, on rows that are held in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def short_fit(
    part: nn.Module,
    n: int,
    loss_of: Callable[[Tensor], Tensor],
    seed: int,
    *,
    steps: int,
    most_epochs: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """Fit a part of a network with AdamW and a cosine decay, in whole passes over the rows; torch's generator stays.

    Args:
        part: the part, whose parameters are fitted.
        n: number of rows.
        loss_of: returns the loss of some rows, given their indices.
        seed: seed of the order.
        steps: least number of steps.
        most_epochs: largest number of passes: few rows have fewer steps, as they would be learned by heart.
        batch: number of rows of a step.
        learning_rate: first learning rate.
        weight_decay: weight decay of AdamW.
    """
    batches = -(-n // batch)
    epochs = min(most_epochs, -(-steps // batches))
    optimiser = torch.optim.AdamW(part.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(n), batch):
                loss = loss_of(rows)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
