"""Ingest of what was posted to the endpoint: its store → the lake, each event once.

The lake's manifest holds how far the store was read (`Watermark`), in the same commit as what was read. So a killed run
changes nothing, and the next one begins where the last commit ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import polars as pl

from fsvae.errors import UserError
from fsvae.files import fingerprint
from fsvae.live_tracks import TrackNotice
from fsvae.live_users import ERASED
from fsvae.prepare.merge import Tracks, merge_day, with_artists
from fsvae.progress import Stage
from pipelines.ingest.erase import erase
from pipelines.ingest.ingest import Counts, accounting
from pipelines.ingest.spill_buffer import SpillBufferByDay
from pipelines.lake.lake import Lake
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary
from serving.stores.store import PAGE, Store, Stored, StoreError

_EVENTS_A_COMMIT = 1_000_000
"""Number of events that are in memory at once, but for a page; each commit writes the days anew that they fall on."""
_PARTS = 1_000_000
"""`duration_ms` of an event whose track has no known duration: `ms_played` is in parts of a million."""
_HEARD = ("listen", "skip")
"""Kinds of events of which a part of the track was heard."""
_POSTED = {
    "user_id": pl.String,
    "sequence": pl.Int64,
    "track_id": pl.String,
    "played_at": pl.Int64,
    "played_fraction": pl.Float64,
    "kind": pl.String,
}
"""A user, and the fields of a `LiveEvent`."""
_METADATA = dict.fromkeys(("track_id", "title", "artist_id", "artist_name", "album"), pl.String)
"""Those fields of a `TrackNotice` that the lake holds."""


@dataclass(frozen=True)
class Watermark:
    """How far a store was read."""

    sequence: int = 0
    """Number of the last event."""
    event: str = ""
    """Fingerprint of that event, by which another one of this number is noticed."""
    changed: int = 0
    """Number of the last change of a track."""


@dataclass
class LiveSummary(Summary):
    """The outcome of one call of `ingest_live`."""

    store: str
    """Name of the store."""
    lake: str
    """Path or address of the lake."""
    counts: Counts = field(default_factory=Counts)
    """Events in = taken + duplicates. What its user erased before it was in the lake is not among them."""
    days: set[str] = field(default_factory=set)
    """Days whose events changed."""
    tracks: int = 0
    """Number of tracks whose metadata came."""
    erased_users: set[str] = field(default_factory=set)
    erased_rows: int = 0
    """Number of events of erased users that were deleted from the lake, or on the way to it."""
    sequence: int = 0
    """Number of the store's last event that is in the lake."""
    seconds: float = 0.0
    verb = "ingest"

    def lines(self) -> list[str]:
        """Return the accounting of all events."""
        if not (self.counts.rows_in or self.tracks or self.erased_users):
            return [f"nothing new in {self.store} after event {self.sequence:,}; {self.lake} is as it was"]
        found = [accounting(self.counts, len(self.days), self.seconds, self.lake)]
        if self.tracks:
            found.append(f"{count(self.tracks, 'track')} with the metadata that was posted")
        if self.erased_users:
            found.append(
                f"{count(len(self.erased_users), 'user')} erased, and {count(self.erased_rows, 'row')} of theirs "
                "deleted; datasets and models made before still hold them"
            )
        return found


def ingest_live(lake: Lake, store: Store, name: str, progress: Stage = lambda stage, share: None) -> LiveSummary:
    """Commit to the lake what was posted since the last call, in order: events, metadata of tracks, and erasures.

    Args:
        lake: lake to write to.
        store: store of the endpoint.
        name: what the store is known by in the lake, such as its absolute path; the same one for each call.
        progress: called with the number of events that were read; the share is 1 at the end and 0 before.

    Raises:
        UserError: the store does not answer, it is not the one that was read before, or another ingest is running. The
            lake then holds what was committed before, and the next call takes the rest.
    """
    began = time.perf_counter()
    summary, key = LiveSummary(name, str(lake.root)), f"live {name}"
    with lake.writing() as staging:
        try:
            mark = _mark(lake, key)
            if not _holds(store, mark):
                raise UserError(
                    f"{name}: {lake.root} has taken what this store held up to event {mark.sequence:,}, and now it "
                    "holds something else: it was deleted and made anew. Put the old one back; or, to take all of the "
                    f"new one, delete the entry '{key}' from logs in {lake.root}/manifest.json, and run this again."
                )
            at_end = False
            while not at_end:
                batch = _read(store, mark, staging, progress)
                if batch.mark != mark:
                    _commit(lake, key, batch, summary)
                mark, at_end = batch.mark, batch.at_end
        except StoreError as error:
            raise UserError(f"{error}. Run this again: it takes what is not in the lake yet.") from error
    progress("done", 1.0)
    summary.sequence = mark.sequence
    summary.seconds = time.perf_counter() - began
    return summary


def _mark(lake: Lake, key: str) -> Watermark:
    entry = lake.manifest.logs.get(key)
    return Watermark(**entry["watermark"]) if entry else Watermark()


def _holds(store: Store, mark: Watermark) -> bool:
    """Return whether a store is the one of a watermark, by its last events and changes, of which one always stays."""
    if mark.changed and not store.tracks(mark.changed - 1):
        return False
    if not mark.sequence:
        return True
    since = store.since(mark.sequence - 1)
    # the event of that number may be gone, as its user was erased by a later one
    return bool(since) and (since[0].event.sequence != mark.sequence or _print(since[0]) == mark.event)


def _print(stored: Stored) -> str:
    return fingerprint([stored.user_id, *stored.event])


@dataclass
class _Batch:
    """What is read of a store for one commit."""

    mark: Watermark
    """How far the store was read."""
    days: SpillBufferByDay
    """Events, in columns `_POSTED`."""
    erased: list[Stored] = field(default_factory=list)
    """Events of the kind ERASED."""
    notices: list[TrackNotice] = field(default_factory=list)
    """Changes of tracks."""
    at_end: bool = False
    """Whether the store held no more."""


def _read(store: Store, mark: Watermark, staging: Path, progress: Stage) -> _Batch:
    batch, read = _Batch(mark, SpillBufferByDay(staging, _EVENTS_A_COMMIT)), 0
    while read < _EVENTS_A_COMMIT and not batch.at_end:
        page = store.since(batch.mark.sequence)
        batch.at_end = len(page) < PAGE  # what comes from now on is for the next call
        if page:
            last = page[-1]
            batch.mark = replace(batch.mark, sequence=last.event.sequence, event=_print(last))
            batch.erased += [one for one in page if one.event.kind == ERASED]
            batch.days.add(_frame([one for one in page if one.event.kind != ERASED]))
            read += len(page)
            progress(count(read, "event"), 0.0)
    # after the events, so that each track that was added before it was heard is known
    batch.notices = store.tracks(mark.changed)
    if batch.notices:
        batch.mark = replace(batch.mark, changed=batch.notices[-1].changed)
    return batch


def _frame(page: Sequence[Stored]) -> pl.DataFrame:
    rows = [(user_id, *event) for user_id, event in page]
    posted = pl.DataFrame(rows, schema=_POSTED, orient="row")
    return posted.with_columns(pl.col("played_at").cast(pl.Datetime("us", "UTC")))


def _commit(lake: Lake, key: str, batch: _Batch, summary: LiveSummary) -> None:
    """Commit a batch with its watermark, and add it to the summary."""
    known, counts = lake.read_tracks(), Counts()
    tracks = Tracks(known)
    added = [{name: getattr(one, name) for name in _METADATA} for one in batch.notices if one.added]
    if added:
        tracks.add(pl.DataFrame(added, schema=_METADATA))
    metadata = tracks.known()

    until: dict[str, int] = {}
    for user_id, event in batch.erased:
        until[user_id] = max(until.get(user_id, event.played_at), event.played_at)
    deleted = erase(lake, until)
    summary.erased_users |= until.keys()
    summary.erased_rows += sum(deleted.values())
    summary.days |= deleted.keys()

    for day, posted in batch.days.days():
        kept = _not_erased(posted, batch.erased)
        merged, taken = merge_day(lake.read_day(day), _lake_rows(kept, metadata))
        summary.erased_rows += len(posted) - len(kept)
        counts.add(Counts(rows_in=len(kept), taken=taken, duplicates=len(kept) - taken))
        tracks.add(kept.select("track_id"))
        if taken:
            lake.write_day(day, merged)
            summary.days.add(day)

    if not tracks.known().equals(known):
        lake.write_tracks(tracks.known())
    summary.counts.add(counts)
    summary.tracks += len(added)
    before = lake.manifest.logs.get(key)
    if before:
        counts.add(Counts(**{one.name: before[one.name] for one in fields(Counts)}))
    entry = {"log": summary.store, "rejects": None, "watermark": asdict(batch.mark)}
    lake.manifest.logs[key] = entry | asdict(counts)
    lake.commit()


def _not_erased(posted: pl.DataFrame, erased: Sequence[Stored]) -> pl.DataFrame:
    """Return the events but for those that an erasure after them wants forgotten."""
    if not erased:
        return posted
    rows = [(user_id, event.sequence, event.played_at) for user_id, event in erased]
    erasures = pl.DataFrame(rows, schema={"user_id": pl.String, "erased": pl.Int64, "until": pl.Int64}, orient="row")
    gone = posted.join(erasures, on="user_id").filter(
        pl.col("sequence") < pl.col("erased"), pl.col("played_at").cast(pl.Int64) <= pl.col("until")
    )
    return posted.filter(~pl.col("sequence").is_in(gone["sequence"].implode()))


def _lake_rows(posted: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """Return events with the other columns of the lake; the part that was heard is in ms of the track's duration."""
    durations = tracks.select("track_id", "duration_ms").filter(pl.col("duration_ms") > 0)
    rows = posted.join(durations, on="track_id", how="left", maintain_order="left")
    rows = rows.with_columns(pl.when(pl.col("kind").is_in(_HEARD)).then(pl.col("duration_ms").fill_null(_PARTS)))
    rows = rows.with_columns(
        (pl.col("played_fraction") * pl.col("duration_ms")).round().cast(pl.Int32).alias("ms_played"),
        pl.lit(None, pl.String).alias("context"),
        pl.lit(None, pl.String).alias("artist_id"),
    )
    return with_artists(rows, tracks)
