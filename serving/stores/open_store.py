"""Opening the store that the settings name."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from fsvae.errors import UserError
from serving.stores.store import Store


class StorePlace(NamedTuple):
    """Where a store is."""

    kind: str
    """sqlite or redis."""
    where: str
    """File of the SQLite store, or the address of the Redis server."""


def open_store(place: StorePlace) -> Store:
    """Open a store, made if it is missing.

    Raises:
        UserError: it cannot be opened.
    """
    if place.kind == "redis":
        from serving.stores.redis_store import RedisStore

        return RedisStore(place.where)
    from serving.stores.sqlite_store import SqliteStore

    try:
        return SqliteStore(Path(place.where))
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{place.where}: what the endpoint is told cannot be kept there: {error}") from error
