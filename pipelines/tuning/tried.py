"""A trial of a tuning, as it is kept and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tried:
    """A trial: one set of values, a run on each log."""

    number: int
    """Its place in the search, 0 for the present settings."""
    values: dict[str, Any]
    runs: list[str]
    """Name of its run's folder on each log; none where the values do not fit together."""
    figures: dict[str, float] = field(default_factory=dict)
    """Log → its metric on the validation period; empty: it is not done, or has failed."""
    score: float | None = None
    """Mean over the logs of its figure as a multiple of the first trial's; None: it is not done, or has failed."""
    seconds: float = 0.0
    """Time of its runs, one behind the other [s]."""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Return whether it is done, or has failed."""
        return self.score is not None or bool(self.error)

    @property
    def gain(self) -> str:
        """Return how far it is above the present settings, in words."""
        return "" if self.score is None else f"{100 * (self.score - 1):+.2f} %"


def best_first(tried: Sequence[Tried]) -> list[Tried]:
    """Return the trials that are done, the best first; of equal ones the earlier."""
    done = [trial for trial in tried if trial.score is not None]
    return sorted(done, key=lambda trial: (-(trial.score or 0.0), trial.number))
