"""Ingest: listening logs → the lake. Rows in = taken + rejected + duplicates, always."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from fsvae.errors import UserError
from fsvae.files import checksum, fingerprint
from fsvae.logs.checks import check_rows
from fsvae.logs.checks.rejects import first_told
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import files_of, read
from fsvae.prepare.merge import Tracks, merge_day, with_artists
from fsvae.progress import Stage
from pipelines.ingest.spill_buffer import SpillBuffer, SpillBufferByDay
from pipelines.lake.lake import Lake
from pipelines.lake.side_tables import SideData
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary

_EVENTS_IN_MEMORY = 2_000_000
_REJECTS_IN_MEMORY = 200_000
_EARLY = "1970"


@dataclass
class Counts:
    """The accounting of one log, or of several."""

    rows_in: int = 0
    taken: int = 0
    rejected: int = 0
    duplicates: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """``field: reason`` of the rejects → number of rows."""

    def reject(self, bad: pl.DataFrame) -> None:
        """Add rejects."""
        self.rejected += len(bad)
        for field_, reason, rows in bad.group_by("field", "reason").len().sort("field", "reason").iter_rows():
            name = f"{field_}: {reason}"
            self.reasons[name] = self.reasons.get(name, 0) + rows

    def add(self, other: Counts) -> None:
        """Add another log's counts."""
        self.rows_in += other.rows_in
        self.taken += other.taken
        self.rejected += other.rejected
        self.duplicates += other.duplicates
        for reason, rows in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + rows


def accounting(counts: Counts, days: int, seconds: float, lake: str) -> str:
    """Return the line of a summary that says where all rows went."""
    return (
        f"{count(counts.rows_in, 'row')} in = {counts.taken:,} taken + {counts.rejected:,} rejected + "
        f"{count(counts.duplicates, 'duplicate')}, {count(days, 'day')} touched, {seconds:.1f} s → {lake}"
    )


@dataclass
class IngestSummary(Summary):
    """The outcome of one call of `ingest`."""

    counts: Counts
    files: int
    known_files: int
    """Number of files that were ingested before with the same bytes, columns and times, and were not read again."""
    days: list[str]
    """Days whose events changed."""
    retitled: bool
    """Whether the metadata of tracks changed."""
    early: int
    """Number of events in 1970, where numbers in too small a unit end up; 0 for sources with a clock of their own."""
    lake: str
    """Path or address of the lake."""
    seconds: float = 0.0
    verb = "ingest"

    def lines(self) -> list[str]:
        """Return the accounting of all rows."""
        counts = self.counts
        found = [accounting(counts, len(self.days), self.seconds, self.lake)]
        if self.known_files:
            found.append(
                f"{self.known_files} of {count(self.files, 'file')} had gone in before and were not read again"
            )
        if self.retitled and not counts.taken:
            found.append(
                "no listen is new, but metadata of tracks is: it was taken, and fsvae prepare makes a dataset with it"
            )
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        if ahead := [day for day in self.days if day > today]:
            found.append(
                f"{count(len(ahead), 'day')} from {ahead[0]} to {ahead[-1]} lie in the future: are source.time_unit "
                "and source.origin right?"
            )
        if 2 * self.early > counts.taken:
            found.append(
                f"{self.early:,} of {counts.taken:,} rows taken lie in {_EARLY}: is source.time_unit right? "
                "(Seconds read as ms look so.)"
            )
        for reason, rows in sorted(counts.reasons.items()):
            found.append(f"rejected {count(rows, 'row')}, {reason} (kept in {self.lake}/rejects)")
        return found


def ingest(lake: Lake, config: SourceConfig, progress: Stage = lambda stage, share: None) -> IngestSummary:
    """Read every log that `config.path` names and commit it to the lake; files ingested before are skipped.

    Args:
        lake: lake to write to.
        config: place and format of the logs.
        progress: called with the file that was read and the share of all that is done.

    Raises:
        UserError: a log cannot be read, too many of its rows are rejected, or another ingest is running. The lake then
            holds only the logs that were committed before the faulty one.
    """
    files = files_of(config)
    began = time.perf_counter()
    summary = IngestSummary(Counts(), len(files), known_files=0, days=[], retitled=False, early=0, lake=str(lake.root))
    days: set[str] = set()
    with lake.writing() as staging:
        tracks_before = lake.manifest.tracks
        for done, path in enumerate(files):
            try:
                digest = _log_name(path, config)
            except OSError as error:
                raise UserError(f"{path}: not readable: {error.strerror}.") from error
            if digest in lake.manifest.logs:
                summary.known_files += 1
            else:
                counts, touched = _ingest_file(lake, path, digest, config, staging)
                summary.counts.add(counts)
                days |= set(touched)
                if config.reader == "table":
                    summary.early += sum(rows for day, rows in touched.items() if day.startswith(_EARLY))
            progress(path.name, (done + 1) / len(files))
    summary.retitled = lake.manifest.tracks != tracks_before
    if files and not summary.known_files and not summary.counts.rows_in:
        raise UserError(f"{config.path}: no listens there: {len(files)} file(s) with a header at most.")
    summary.days = sorted(days)
    summary.seconds = time.perf_counter() - began
    return summary


def _log_name(path: Path, config: SourceConfig) -> str:
    """Return the key of a log, from its bytes and their mapping, so that a corrected mapping is read again."""
    return fingerprint([checksum(path), {**asdict(config), "path": None, "max_reject_share": None}])


def _ingest_file(
    lake: Lake, path: Path, digest: str, config: SourceConfig, staging: Path
) -> tuple[Counts, dict[str, int]]:
    """Commit one log; return its accounting, and the number of events added to each day that changed."""
    counts = Counts()
    rejects = SpillBuffer(staging, "rejects", _REJECTS_IN_MEMORY)
    days = SpillBufferByDay(staging, _EVENTS_IN_MEMORY)
    side = SideData(lake)
    tracks_before = lake.read_tracks()
    tracks = Tracks(tracks_before)
    for chunk in read(path, config):
        rows, bad = check_rows(chunk, path, config)
        counts.rows_in += len(rows) + len(bad)
        counts.reject(bad)
        rejects.add(bad)
        if chunk.table == "events":
            days.add(rows)
        else:
            side.add(chunk.table, rows)
        if chunk.table != "embeddings":
            tracks.add(rows)

    if not counts.rows_in:
        return counts, {}  # no row to record the log for
    entry: dict[str, object] = {"log": path.name, "rejects": None}
    if counts.rejected:
        entry["rejects"] = lake.write_rejects(digest, rejects.frames())
        if counts.rejected > config.max_reject_share * counts.rows_in:
            kept = lake.refuse(path.stem, rejects.frames())
            raise UserError(
                f"{path}: {counts.rejected} of {counts.rows_in} rows rejected, more than source.max_reject_share="
                f"{config.max_reject_share}; nothing of it was taken. First: "
                f"{first_told(next(rejects.frames()))}. All of them, with reasons: {kept}"
            )
    rejects.clear()
    touched: dict[str, int] = {}
    for day, new in days.days():
        merged, added = merge_day(lake.read_day(day), with_artists(new, tracks.known()))
        counts.taken += added
        counts.duplicates += len(new) - added
        if added:
            lake.write_day(day, merged)
            touched[day] = added
    side.commit()
    counts.taken += side.taken
    counts.duplicates += side.duplicates
    if not tracks.known().equals(tracks_before):  # duplicates may bring titles that were not mapped before
        lake.write_tracks(tracks.known())  # rewriting millions of tracks takes time
    lake.manifest.logs[digest] = entry | asdict(counts)
    lake.commit()
    return counts, touched
