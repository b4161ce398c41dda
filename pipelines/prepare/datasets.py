"""The folder of all prepared datasets: the current one, retention, and datasets in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsvae.data.dataset import Dataset, open_dataset
from fsvae.prepare.dataset_files import current_dataset, find_dataset, is_prepared
from fsvae.storage import Folder
from pipelines.runtime.locks import in_use, unused


@contextmanager
def dataset_in_use(where: str | Path | Folder) -> Iterator[tuple[Folder, dict[str, Any]]]:
    """Find a dataset as `find_dataset` does, and keep it from being deleted while the context is open.

    Raises:
        UserError: there is none, or it has another schema version.
    """
    folder, _ = find_dataset(where)
    with in_use(folder):
        yield find_dataset(folder)  # again, as it could have been deleted before


def open_in_use(where: str | Path | Folder) -> Dataset:
    """Open a dataset as `open_dataset` does, and keep it from being deleted until all of it is in memory.

    Raises:
        UserError: there is none, it has another schema version, or a file is not the one that was written.
    """
    with dataset_in_use(where) as (folder, _):
        return open_dataset(folder)


def make_current(datasets: Folder, name: str, keep: int) -> None:
    """Make a dataset the current one, and delete unfinished datasets and those of `delete_old`."""
    datasets.write("CURRENT", (name + "\n").encode())
    (datasets / name).write(".used", b"")  # its time is when the dataset last became the current one
    for left in datasets.files():
        of_matrices = "/" in left and left.startswith(".")  # a folder under another lock
        if left.endswith(".tmp") and not of_matrices:
            datasets.delete(left)
    for other in datasets.folders():
        if not other.startswith(".") and not is_prepared(datasets / other):
            (datasets / other).delete_all()
    delete_old(datasets, keep)


def delete_old(datasets: Folder, keep: int) -> None:
    """Delete the datasets, except the current one and those that were current last (`keep` in all), and any in use.

    The caller must hold the folder.
    """
    current, ages = current_dataset(datasets), {}
    for name in datasets.folders():
        folder = datasets / name
        if not name.startswith(".") and is_prepared(folder) and folder != current:
            ages[name] = folder.age(".used" if folder.exists(".used") else "manifest.json")
    for old in sorted(ages, key=ages.__getitem__, reverse=True)[max(keep, 1) - 1 :]:
        with unused(datasets / old) as free:
            if free:
                (datasets / old).delete("manifest.json")  # first, so that a half-deleted dataset does not count
                (datasets / old).delete_all()
