"""Settings of the training of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Count, OneOf, Share, Weight


@dataclass
class OptimiserConfig:
    """Settings of AdamW with a linear warm-up and a cosine decay."""

    learning_rate: Annotated[float, Interval(ge=1e-12, le=1e3)] = 2e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Interval(ge=0.0, le=1e3)] = 1e-4
    """Weight decay of AdamW."""
    warmup_share: Share = 0.05
    """Share of all steps over which the learning rate rises."""
    final_share: Share = 0.05
    """Final learning rate as a share of the peak."""


@dataclass
class TrainConfig:
    """Settings of the training."""

    max_epochs: Annotated[int, Interval(ge=1, le=1_000_000)] = 8
    """Largest number of passes over the training chunks."""
    patience: Annotated[int, Interval(ge=0, le=10**9)] = 3
    """Number of epochs without improvement of the network's validation criterion after which training stops."""
    refit: bool = True
    """Whether the validation period is learned from as well, once it has chosen the epoch: by the gates and the ranker
    of a network with a memory; any other is trained once more from the start, on both periods together. What has
    learned from the validation period cannot be evaluated on it."""
    batch_listens: Count = 1024
    """Approximate number of listens in a batch, of a few long histories or of many short ones."""
    gradient_clip: Weight = 1.0
    """Largest L2 norm of the gradient."""
    num_workers: Annotated[int, Interval(ge=0, le=1_000)] = 0
    """Number of processes that gather batches; 0: the training process does."""
    precision: Annotated[str, OneOf(("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"))] = "auto"
    """Lightning's precision; auto: bf16-mixed on a GPU, 32-true on a CPU."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
