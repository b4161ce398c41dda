"""The command line: `fsvae VERB`. Each command is a verb; settings follow it as Hydra overrides (key=value)."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.text import Text

from fsvae.errors import UserError
from pipelines.cli import chains, data, matrices, models, tunings
from pipelines.cli.app import app

__all__ = ["app", "chains", "data", "main", "matrices", "models", "tunings"]  # importing them registers their commands


def main() -> None:
    """Run the command line; an error that the user can fix is one message and exit status 2."""
    # Torch's threads wait for each other at every step of an LSTM: on a busy machine, two are dozens of times slower
    # than one (docs/decisions.md). Torch reads this on import, which no command has done yet.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(Text.assemble(("error ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(2)
