"""Types of the functions that long work reports its progress to."""

from __future__ import annotations

from collections.abc import Callable

Done = Callable[[int, int], None]
"""Called with (what is done, what there is to do in all)."""
Stage = Callable[[str, float], None]
"""Called with (what is being done, the share of the whole that is done)."""
