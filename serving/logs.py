"""The log of an endpoint: a JSON object a line, of all its processes in one file; never about whom or which track."""

from __future__ import annotations

import logging
import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

LOG = logging.getLogger("fsvae.serving")
_FACTS = "facts"


def log_to(file: Path) -> None:
    """Append what this process logs to a file, which is made if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(_JsonLines())
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)


def log(level: int, said: str, **facts: Any) -> None:
    """Log an event with its facts, which must be JSON values and name no user and no track."""
    LOG.log(level, said, extra={_FACTS: facts})


def of_error(error: BaseException) -> dict[str, str]:
    """Return the facts of an error: its type and where it was raised, not its message, which may name a user."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return {
        "error": type(error).__name__,
        "raised_in": " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames)),
    }


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "process": os.getpid(), "said": record.getMessage()}
        return orjson.dumps(line | getattr(record, _FACTS, {})).decode()
