"""The folders of datasets: which one is complete, which is the current one, and the names of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsvae.errors import UserError
from fsvae.schema import SCHEMA_VERSION
from fsvae.storage import Folder


def is_prepared(folder: Folder) -> bool:
    """Return whether a folder holds a complete dataset: its manifest is written last."""
    return folder.exists("manifest.json")


def current_dataset(datasets: Folder) -> Folder | None:
    """Return the current dataset of a folder of datasets, which its CURRENT names, or None where there is none."""
    if not datasets.exists("CURRENT"):
        return None
    folder = datasets / datasets.read("CURRENT").decode().strip()
    return folder if is_prepared(folder) else None


def find_dataset(where: str | Path | Folder) -> tuple[Folder, dict[str, Any]]:
    """Return the folder of a prepared dataset, or of the current one of a folder of datasets, and its manifest.

    Raises:
        UserError: there is none, or it has another schema version.
    """
    folder = Folder.at(where)
    folder = current_dataset(folder) or folder
    if not is_prepared(folder):
        raise UserError(f"{folder}: no prepared dataset there. Make one: fsvae prepare.")
    manifest = folder.read_json("manifest.json")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder}/manifest.json: schema_version is {manifest.get('schema_version')}, this program reads "
            f"{SCHEMA_VERSION}. Run fsvae prepare again."
        )
    return folder, manifest


def shard_name(index: int) -> str:
    """Return the file name of a shard of a table that is cut by user."""
    return f"part-{index:02d}.parquet"
