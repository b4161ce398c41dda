"""The lake: its files (`fsvae.prepare.lake_files`) under a lock for writers, with the rejects of every log.

A killed writer leaves the lake unchanged, and the next writer deletes the files it left.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from fsvae.files import in_schema, write_parquet
from fsvae.prepare.lake_files import LakeFiles
from fsvae.schema import REJECTS
from fsvae.storage import Folder
from pipelines.runtime.locks import held


class Lake(LakeFiles):
    """A lake that logs are ingested into."""

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Hold the lake for writing; yields an empty local staging folder and sweeps files that no manifest names.

        Raises:
            UserError: another process holds the lake.
        """
        with held(self.root, "ingest"):
            self.manifest = self._read_manifest()  # another writer may have committed before the lock was taken
            local = self.root.local
            staging = local / ".staging" if local else Path(tempfile.mkdtemp(prefix="fsvae-"))
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                self._sweep()

    def write_rejects(self, log: str, rejects: Iterable[pl.DataFrame]) -> str:
        """Write the rejects of a log and return the file's path, for the log's entry in the manifest."""
        return self._keep(f"rejects/{log[:16]}.parquet", rejects)

    def refuse(self, name: str, rejects: Iterable[pl.DataFrame]) -> Folder:
        """Write the rejects of a refused log where no sweep deletes them, and return the file."""
        return self.root / self._keep(f"refused-{name}.parquet", rejects)

    def _keep(self, path: str, rejects: Iterable[pl.DataFrame]) -> str:
        with self.root.writing(path) as file:
            write_parquet(file, (in_schema(rows, REJECTS) for rows in rejects), REJECTS)
        return path

    def _sweep(self) -> None:
        committed = self._read_manifest()
        named = {entry["path"] for entry in committed.days.values()}
        named |= {log["rejects"] for log in committed.logs.values()}
        if committed.tracks:
            named.add(committed.tracks["path"])
        named |= {entry["path"] for entry in committed.playlists + committed.embeddings}
        for name in self.root.files():
            if name.endswith(".tmp") or ("/" in name and name.endswith(".parquet") and name not in named):
                self.root.delete(name)
