"""Erasure of users from the lake: their events up to a time, and their rows among the rejects."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import polars as pl

from fsvae.files import fingerprint
from fsvae.prepare.buckets import buckets_of
from fsvae.prepare.events import read_buckets
from fsvae.storage import read_frame
from pipelines.lake.lake import Lake


def erase(lake: Lake, until: Mapping[str, int]) -> dict[str, int]:
    """Delete what the lake holds of some users; it takes effect with the next commit.

    Rejects have no times that can be relied on: all rows of these users go.

    Args:
        lake: lake, held for writing.
        until: user id → time [us since 1970 UTC] up to which events are deleted.

    Returns:
        Each day that changed, and how many of its events were deleted.
    """
    found: dict[str, int] = {}
    if not until:
        return found
    users = pl.DataFrame({"user_id": list(until), "until": list(until.values())})
    buckets = buckets_of(users["user_id"])
    span = int(buckets.to_numpy().min()), int(buckets.to_numpy().max()) + 1
    last = datetime.fromtimestamp(max(until.values()) / 1e6, UTC).date().isoformat()
    for day in [day for day in sorted(lake.manifest.days) if day <= last]:
        file = lake.open(lake.manifest.days[day])
        columns = ["user_id", "played_at", "bucket"]
        some = pl.DataFrame(pl.from_arrow(read_buckets(file, span, columns, [])))
        if not _gone(some, users).any():
            continue  # most days of most users: only these columns of some buckets were read
        events = lake.read_day(day)
        assert events is not None
        kept = events.filter(~_gone(events, users))
        found[day] = len(events) - len(kept)
        if kept.is_empty():
            del lake.manifest.days[day]  # readers expect events on every day that there is
        else:
            lake.write_day(day, kept)
    _erase_rejects(lake, until.keys())
    return found


def _gone(events: pl.DataFrame, users: pl.DataFrame) -> pl.Series:
    until = events.select("user_id").join(users, on="user_id", how="left", maintain_order="left")["until"]
    return (events["played_at"].cast(pl.Int64) <= until).fill_null(False)


def _erase_rejects(lake: Lake, users: Collection[str]) -> None:
    for log in lake.manifest.logs.values():
        if log["rejects"] and (kept := _without(lake, log["rejects"], users)) is not None:
            # under another name, as the file of the last commit has to stay until the next one
            log["rejects"] = lake.write_rejects(fingerprint([log["rejects"], sorted(users)]), [kept])
    for path in lake.root.files():
        # no manifest names these: one that was rewritten before a kill is rewritten again to the same
        if path.startswith("refused-") and (kept := _without(lake, path, users)) is not None:
            lake.refuse(path.removeprefix("refused-").removesuffix(".parquet"), [kept])


def _without(lake: Lake, path: str, users: Collection[str]) -> pl.DataFrame | None:
    """Return a file of rejects without the rows that name one of the users; None: there are none of them."""
    rejects = read_frame(lake.root.open(path))
    parsed = [json.loads(row) for row in rejects["row"]]  # text where the line could not be cut into fields
    ids = [row.get("user_id") if isinstance(row, dict) else None for row in parsed]  # of any type, as logs are wrong
    named = pl.Series([isinstance(one, str) and one in users for one in ids], dtype=pl.Boolean)
    return rejects.filter(~named) if named.any() else None
