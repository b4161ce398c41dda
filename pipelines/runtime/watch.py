"""What a verb, or a chain of them, tells while it runs: whoever called it may listen, the terminal for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from fsvae.progress import Stage

if TYPE_CHECKING:
    from pipelines.reports.table import Table


class Summary:
    """What a verb did: figures and words, for whoever shows them."""

    verb: ClassVar[str]

    def tables(self) -> list[Table]:
        """Return its figures."""
        return []

    def lines(self) -> list[str]:
        """Return what is to be said of it, the most important line first."""
        return []


class Watch:
    """Listens to nothing; a listener overrides what it wants to hear."""

    interactive = False
    """Whether somebody sees bars move."""

    @contextmanager
    def progress(self, verb: str) -> Iterator[Stage]:
        """Follow a verb: what is yielded takes the stage's name and the share of the whole that is done."""
        yield lambda stage, share: None

    def note(self, verb: str, text: str) -> None:
        """Take a line that is told in between; an empty verb: of the one before."""

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Take the metrics of an epoch (from 1) of a training."""

    def resumed(self, epoch: int) -> None:
        """Take the epoch (from 1) from which an interrupted training goes on."""

    def warn(self, text: str) -> None:
        """Take a warning."""

    def table(self, table: Table) -> None:
        """Take figures that are told in between."""

    def show(self, summary: Summary) -> None:
        """Take what a verb did."""
