"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Count, OneOf, Share, Weight


@dataclass
class OptimiserConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: Annotated[float, Interval(ge=1e-12, le=1e3)] = 2e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Interval(ge=0.0, le=1e3)] = 1e-4
    """Weight decay of AdamW."""
    warmup_share: Share = 0.05
    """Share of all steps over which the learning rate rises."""
    final_share: Share = 0.05
    """Share of the peak learning rate that is left at the end."""


@dataclass
class TrainConfig:
    """How the model is trained."""

    max_epochs: Annotated[int, Interval(ge=1, le=1_000_000)] = 12
    """Most passes over the training chunks."""
    patience: Annotated[int, Interval(ge=0, le=10**9)] = 4
    """Epochs without a better one, by the validation figure that is the network's criterion, until training stops."""
    batch_listens: Count = 1024
    """Listens in a batch, about: of a few long histories or of many short ones."""
    gradient_clip: Weight = 1.0
    """Longest gradient, by L2 norm."""
    num_workers: Annotated[int, Interval(ge=0, le=1_000)] = 0
    """Processes that gather batches; 0: the training process does."""
    precision: Annotated[str, OneOf(("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"))] = "auto"
    """Lightning's precision; auto: bf16-mixed on a GPU, 32-true on a CPU."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
