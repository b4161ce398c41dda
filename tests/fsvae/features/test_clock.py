"""Times and how they are written."""

from __future__ import annotations

from datetime import UTC, datetime

from fsvae.features.clock import DAY_US, EPOCH_WEEKDAY, HOUR_US, utc_text


def test_days_begin_at_midnight_utc_and_weeks_on_monday() -> None:
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    time_us = int(monday.timestamp()) * 1_000_000
    assert time_us % DAY_US == 0 and (time_us // DAY_US + EPOCH_WEEKDAY) % 7 == monday.weekday() == 0
    assert utc_text(time_us + 13 * HOUR_US) == "2026-01-05 13:00"
    assert utc_text(time_us + DAY_US - 1, "%d %b, %H:%M:%S") == "05 Jan, 23:59:59"
