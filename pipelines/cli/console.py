"""The terminal: lines, tables and bars. Text from data is never interpreted as markup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import HEAVY_HEAD, Box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fsvae.progress import Stage
from pipelines.reports.words import count
from pipelines.runtime.table import Table as Figures
from pipelines.runtime.watch import Summary, Watch

console = Console()
if not console.is_terminal:  # a log file has no width: do not wrap tables and paths
    console = Console(width=160)

_INDENT = 10


def drawn(figures: Figures, box: Box = HEAVY_HEAD) -> Table:
    """Return a table of figures as it is printed."""
    found = Table(title_justify="left", box=box, show_header=any(figures.headings))
    for place, heading in enumerate(figures.headings):
        text = place == 0 or place in figures.texts
        found.add_column(Text(heading), justify="left" if text else "right", overflow="fold")
    for row, cells in enumerate(figures.rows):
        best = ["bold green" if (row, place) in figures.best else "" for place in range(len(cells))]
        found.add_row(*map(Text, cells, best))
    return found


class Terminal(Watch):
    """A listener that prints the reports of verbs."""

    interactive = console.is_terminal

    def __init__(self) -> None:
        """Start without a verb."""
        self._verb = ""

    @contextmanager
    def progress(self, verb: str) -> Iterator[Stage]:
        """Draw a bar while the context is open; the yielded function takes the stage's name and the share done."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(verb, total=1.0)
            yield lambda stage, share: bar.update(
                task, completed=share, description=f"{verb}: {stage}" if stage else verb
            )

    def note(self, verb: str, text: str) -> None:
        """Print a line, preceded by the verb where that differs from the line before."""
        label = "" if verb == self._verb else verb
        self._verb = verb
        console.print(Text.assemble((label.ljust(_INDENT), "bold"), text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        console.print(Text.assemble(("warning".ljust(_INDENT), "bold yellow"), text), soft_wrap=True)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Print an epoch's figures, those of the validation period where it is validated."""
        measured = (
            f"val/l2 {metrics['val/l2']:.4f}  val/cosine {metrics['val/cosine']:.4f}  KL {metrics['val/kl']:.1f} nats"
            if "val/l2" in metrics
            else f"train/loss {metrics['train/loss']:.4f}"
        )
        self.note("train", f"epoch {epoch:>2}  {measured}")

    def resumed(self, epoch: int) -> None:
        """Print the epoch at which a training resumes."""
        self.note("train", f"goes on from epoch {epoch}")

    def refit(self, epochs: int) -> None:
        """Print what learns from the validation period, and for how long."""
        if not epochs:
            self.note("train", "now the gates and the ranker learn from the validation period, held back from the rest")
            return
        again = f"now a new network on training and validation together, for {count(epochs, 'epoch')}"
        self.note("train", f"epoch {epochs} was best; {again}")

    def table(self, table: Figures) -> None:
        """Print figures between their title and their note."""
        for text in (table.title, drawn(table), table.note):
            if text:
                console.print(Text(text) if isinstance(text, str) else text, soft_wrap=isinstance(text, str))

    def show(self, summary: Summary) -> None:
        """Print the summary of a verb."""
        for table in summary.tables():
            self.table(table)
        for line in summary.lines():
            self.note(summary.verb, line)
