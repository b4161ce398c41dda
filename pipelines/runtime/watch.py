"""The reports of a verb, or of a chain of verbs, while it runs, for listeners such as the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from fsvae.progress import Stage

if TYPE_CHECKING:
    from pipelines.runtime.table import Table


class Summary:
    """The outcome of a verb: figures and lines of text."""

    verb: ClassVar[str]

    def tables(self) -> list[Table]:
        """Return its tables of figures."""
        return []

    def lines(self) -> list[str]:
        """Return its lines of text, the most important first."""
        return []


class Watch:
    """A listener that ignores everything; others override the methods they need."""

    interactive = False
    """Whether progress bars are shown."""

    @contextmanager
    def progress(self, verb: str) -> Iterator[Stage]:
        """Follow a verb: the yielded function takes the stage's name and the share of the whole that is done."""
        yield lambda stage, share: None

    def note(self, verb: str, text: str) -> None:
        """Take a line of text; an empty verb: that of the line before."""

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Take the metrics of an epoch (from 1) of a training."""

    def resumed(self, epoch: int) -> None:
        """Take the epoch (from 1) from which an interrupted training resumes."""

    def refit(self, epochs: int) -> None:
        """Take the number of epochs of a training's second fit, of which later epochs are; 0: there is none."""

    def warn(self, text: str) -> None:
        """Take a warning."""

    def table(self, table: Table) -> None:
        """Take a table of figures."""

    def show(self, summary: Summary) -> None:
        """Take the summary of a verb."""
