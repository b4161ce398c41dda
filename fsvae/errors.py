"""The error that is shown to users."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """An error that the user can fix: bad input, a missing file, a wrong option.

    The message says what is wrong, where (file, row, field) and what to do next. The command line
    prints it without a traceback; everything else that is raised is a defect.
    """


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the valid word nearest to `word`, or an empty string."""
    match = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
