"""Settings of a matrix of ablations, as in configs/ablation/."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsvae.limits import Count


@dataclass
class AblationConfig:
    """A matrix: models that differ in their settings, each trained with every seed (fsvae ablate ablation=paper)."""

    title: str = ""
    """Title of its report."""
    base: list[str] = field(default_factory=list)
    """Settings of all variants; those of the command line come after them, and those of a variant last."""
    reference: str = ""
    """The variant that the others are compared with."""
    variants: dict[str, list[str]] = field(default_factory=dict)
    """Name of a variant → its settings: recommender, model, train, dataset and baselines can be set."""
    keep: Count = 20
    """Number of matrices, the newest ones, whose trained variants are kept, and of datasets of variants."""
