"""Times: microseconds since 1970 UTC, their hours and days, and their text form."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
EPOCH_WEEKDAY = 3
"""Weekday of 1970-01-01, a Thursday; Monday is 0."""

PAUSE_US = 210 * SECOND_US
"""Assumed time between the begins of recent listens without times: 3.5 minutes [us]."""


def utc_text(time_us: int, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a time as text, in UTC."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime(form)
