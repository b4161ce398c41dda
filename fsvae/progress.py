"""Types of the functions that report progress of long work."""

from __future__ import annotations

from collections.abc import Callable

Done = Callable[[int, int], None]
"""Function called with (number of things done, number of all)."""
Stage = Callable[[str, float], None]
"""Function called with (name of the stage, share of the whole that is done)."""
