"""Activation of the virtual environment, so that printed commands work in the reader's shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def activation() -> str | None:
    """Return the command that activates the virtual environment of this process, or None where that is not needed."""
    prefix, active, here = Path(sys.prefix), os.environ.get("VIRTUAL_ENV"), Path.cwd()
    if sys.prefix == sys.base_prefix or (active and Path(active).resolve() == prefix.resolve()):
        return None
    return f". {(prefix.relative_to(here) if prefix.is_relative_to(here) else prefix) / 'bin' / 'activate'}"
