"""Ingest: listening logs → the lake. Rows in = taken + rejected + duplicates, always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from fsvae.errors import UserError
from fsvae.schema import LAKE_EVENTS, TRACKS
from pipelines.checks import check_rows
from pipelines.files import checksum, fingerprint
from pipelines.lake import Lake, buckets_of
from pipelines.side_data import SideData
from pipelines.sources import files_of, read
from pipelines.sources.base import SourceConfig

_STAGED_ROWS = 2_000_000
_SIDE_FIELDS = [name for name in TRACKS.names if name != "track_id"]


@dataclass
class Counts:
    """The accounting of one log, or of several."""

    rows_in: int = 0
    taken: int = 0
    rejected: int = 0
    duplicates: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """``field: reason`` of the rejects → rows."""

    def add(self, other: Counts) -> None:
        """Add another log's counts."""
        self.rows_in += other.rows_in
        self.taken += other.taken
        self.rejected += other.rejected
        self.duplicates += other.duplicates
        for reason, rows in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + rows


@dataclass
class IngestSummary:
    """What one call of `ingest` did."""

    counts: Counts
    files: int
    known_files: int
    """Files that had gone in before, byte for byte and with the same columns and times; they were not read again."""
    days: list[str]
    """Days whose events changed."""


def ingest(lake: Lake, config: SourceConfig, on_file: Callable[[int, int], None] | None = None) -> IngestSummary:
    """Read every log that `config.path` names and commit it to the lake; files that went in before are skipped.

    Args:
        lake: where to.
        config: which logs, and how to read them.
        on_file: called with (files done, files in all), for a progress bar.

    Raises:
        UserError: a log cannot be read, too many of its rows are rejected, or another ingest is running. The lake is
            then as it was, but for the logs that were committed before the faulty one.
    """
    files = files_of(config)
    summary = IngestSummary(Counts(), files=len(files), known_files=0, days=[])
    days: set[str] = set()
    with lake.writing() as staging:
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
                days |= touched
            if on_file is not None:
                on_file(done + 1, len(files))
    if files and not summary.known_files and not summary.counts.rows_in:
        raise UserError(f"{config.path}: no listens there: {len(files)} file(s) with a header at most.")
    summary.days = sorted(days)
    return summary


def _log_name(path: Path, config: SourceConfig) -> str:
    """Return what a log is remembered by: its bytes and how they are read: a corrected mapping is not skipped."""
    return fingerprint([checksum(path), {**asdict(config), "path": None, "max_reject_share": None}])


def _ingest_file(lake: Lake, path: Path, digest: str, config: SourceConfig, staging: Path) -> tuple[Counts, set[str]]:
    counts = Counts()
    staged: dict[str, list[Path]] = {}
    rejects: list[pl.DataFrame] = []
    tracks_before = lake.read_tracks()
    tracks = [tracks_before]
    buffer: list[pl.DataFrame] = []
    side = SideData(lake)

    def stage() -> None:
        if not buffer:
            return
        events = pl.concat(buffer)
        buffer.clear()
        tracks[:] = [merge_tracks([*tracks, events])]
        events = events.with_columns(pl.col("played_at").dt.strftime("%Y-%m-%d").alias("date"))
        for (day,), rows in events.partition_by("date", as_dict=True, maintain_order=True).items():
            target = staging / f"{day}-{len(staged.get(day, []))}.arrow"
            rows.drop("date").write_ipc(target)
            staged.setdefault(day, []).append(target)

    for chunk in read(path, config):
        events, bad = check_rows(chunk, path, config)
        counts.rows_in += len(events) + len(bad)
        counts.rejected += len(bad)
        if len(bad):
            rejects.append(bad)
        if len(events) and chunk.table == "events":
            buffer.append(events)
        elif len(events):
            side.add(chunk.table, events)
            if chunk.table == "playlists":
                tracks.append(merge_tracks([events]))
        if sum(map(len, buffer)) >= _STAGED_ROWS:
            stage()
    stage()

    if not counts.rows_in:
        return counts, set()  # nothing to remember it for
    entry: dict[str, object] = {"log": path.name, "rejects": None}
    if rejects:
        bad = pl.concat(rejects)
        groups = bad.group_by("field", "reason").len().sort("field", "reason")
        counts.reasons = {f"{f}: {r}": n for f, r, n in groups.iter_rows()}
        entry["rejects"] = lake.write_rejects(digest, bad)
        if counts.rejected > config.max_reject_share * counts.rows_in:
            kept = lake.refuse(path.stem, bad)
            first = bad.row(0, named=True)
            raise UserError(
                f"{path}: {counts.rejected} of {counts.rows_in} rows rejected, more than source.max_reject_share="
                f"{config.max_reject_share}; nothing of it was taken. First: line {first['line']}, {first['field']}: "
                f"{first['reason']}. All of them, with reasons: {kept}"
            )
    touched: set[str] = set()
    for day in sorted(staged):
        new = pl.concat([pl.read_ipc(part) for part in staged[day]])
        merged, added = merge_day(lake.read_day(day), with_artists(new, tracks[0]))
        counts.taken += added
        counts.duplicates += len(new) - added
        if added:
            lake.write_day(day, merged)
            touched.add(day)
        for part in staged[day]:
            part.unlink()
    side.commit()
    counts.taken += side.taken
    counts.duplicates += side.duplicates
    if touched or side.taken:
        known = merge_tracks(tracks)
        if not known.equals(tracks_before):  # rewriting what is known of millions of tracks takes its time
            lake.write_tracks(known)
    lake.manifest.logs[digest] = entry | asdict(counts)
    lake.commit()
    return counts, touched


def merge_day(old: pl.DataFrame | None, new: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Merge new events of a day, in order of their source, behind the old ones; return all and how many were added.

    The order is (bucket, user, played_at, arrival); of rows with equal (user, track, played_at, kind) the first stays.
    """
    new = new.with_columns(buckets_of(new["user_id"]).alias("bucket")).select(LAKE_EVENTS.names)
    both = new if old is None else pl.concat([old, new])
    merged = both.unique(["user_id", "track_id", "played_at", "kind"], keep="first", maintain_order=True).sort(
        "bucket", "user_id", "played_at", maintain_order=True
    )
    return merged, len(merged) - (0 if old is None else len(old))


def with_artists(events: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """Return events with the artist that is known of a track by now where their own rows do not say."""
    if not events["artist_id"].has_nulls():
        return events
    known = tracks.select("track_id", pl.col("artist_id").alias("known_artist"))
    joined = events.join(known, on="track_id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("artist_id", "known_artist").alias("artist_id")).drop("known_artist")


def merge_tracks(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Return one row a track: of each field the latest value that is known."""
    rows = pl.concat([frame.select(TRACKS.names) for frame in frames])
    return rows.group_by("track_id").agg(pl.col(_SIDE_FIELDS).drop_nulls().last()).sort("track_id")
