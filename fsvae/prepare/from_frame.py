"""A frame of listens → a dataset, through the files that ingest and prepare would write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fsvae.errors import UserError
from fsvae.logs.read_listens import checked_listens
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.lake_files import LakeFiles
from fsvae.prepare.make_dataset import DatasetJob, make_dataset
from fsvae.prepare.merge import Tracks, merge_day, with_artists
from fsvae.schema import TRACKS
from fsvae.storage import Folder

if TYPE_CHECKING:
    import pandas as pd


def make_from_frame(
    listens: pd.DataFrame | pl.DataFrame,
    tracks: pd.DataFrame | pl.DataFrame | None,
    config: DatasetConfig | None,
    seed: int,
    folder: Path,
) -> Folder:
    """Write the dataset of some listens into a folder and return its own folder; see `Dataset.from_pandas`."""
    lake = LakeFiles(folder / "lake")
    rows = checked_listens(listens, SourceConfig())
    if rows.is_empty():
        raise UserError("The frame holds no listens.")
    known = Tracks(lake.read_tracks())
    known.add(rows)
    if tracks is not None:
        known.add(_checked_tracks(tracks))
    by_day = rows.with_columns(date=pl.col("played_at").dt.date()).partition_by("date", as_dict=True)
    for (day,), events in sorted(by_day.items()):
        lake.write_day(day.isoformat(), merge_day(None, with_artists(events, known.known()))[0])
    lake.write_tracks(known.known())
    return make_dataset(DatasetJob.of(lake, config or DatasetConfig(), seed, Folder.at(folder / "datasets")))[0]


def _checked_tracks(tracks: pd.DataFrame | pl.DataFrame) -> pl.DataFrame:
    """Return a frame's metadata of tracks, with the types of TRACKS.

    Raises:
        UserError: the frame has no column track_id, or a column of another type, or is none.
    """
    if not hasattr(tracks, "columns"):
        kind = type(tracks).__name__
        raise UserError(f"tracks is a {kind}, not a frame: settings go behind it, config=DatasetConfig(...).")
    if "track_id" not in tracks.columns:
        raise UserError(f"tracks has no column track_id; it has {', '.join(tracks.columns)}.")
    types = pl.DataFrame(TRACKS.empty_table()).schema
    try:
        frame = tracks if isinstance(tracks, pl.DataFrame) else pl.from_pandas(tracks.reset_index(drop=True))
        frame = frame.select(pl.col(name).cast(types[name]) for name in TRACKS.names if name in frame.columns)
    except (pl.exceptions.PolarsError, UnicodeEncodeError) as error:
        raise UserError(f"tracks: {error}") from error
    if frame["track_id"].has_nulls():
        raise UserError(f"tracks: row {frame['track_id'].is_null().arg_true()[0] + 1} has no track_id.")
    return frame
