"""What all baselines have in common: a class that is made from its config, a dataclass of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from fsvae.recommender import Recommender


@dataclass
class NoSettings:
    """The config of a baseline that has nothing to set."""


class Baseline(Recommender, Protocol):
    """A recommender that a config can name."""

    config_type: ClassVar[type]
    """Of the only argument of the constructor."""

    def __init__(self, config: Any) -> None:
        """Take the config."""
        ...
