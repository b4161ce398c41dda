"""Listens in a notebook: a log of any known format, or a frame, as a pandas frame of checked rows.

The checks and their results are those of `fsvae ingest`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from fsvae.errors import UserError, nearest
from fsvae.limits import check
from fsvae.logs.checks import check_rows
from fsvae.logs.checks.rejects import first_told
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import files_of, read
from fsvae.schema import RAW_EVENTS, REJECTS

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = tuple(RAW_EVENTS.names)
_SETTINGS = ("time_unit", "origin", "delimiter", "kinds", "max_reject_share")


def read_listens(
    log: str | Path | pd.DataFrame | pl.DataFrame,
    *,
    source: str = "table",
    rejects: str | Path | None = None,
    config: SourceConfig | None = None,
    **more: Any,
) -> pd.DataFrame:
    """Return the listens (and skips, likes, ...) of a log as a pandas frame, one row each, in the order of the log.

    Args:
        log: a file or a folder of files (CSV or Parquet, plain, compressed or in a ZIP, or what `source` reads), or a
            pandas or polars frame.
        source: kind of log, one of `fsvae.logs.source_config.SOURCES`; a frame is always a ``table``.
        rejects: Parquet file to which rejected rows are written with their line, field and reason.
        config: settings of the source; `source` and `more` override it.
        **more: name of the log's column for each field with another name (``user_id="user"``), where the fields are
            those of `fsvae.schema.RAW_EVENTS`; and settings: ``time_unit``, ``origin``, ``delimiter``, ``kinds`` and
            ``max_reject_share`` of `fsvae.SourceConfig`.

    Returns:
        A row an event with the columns of `fsvae.schema.RAW_EVENTS`: user_id, track_id, played_at (UTC), kind,
        ms_played, duration_ms, context, title, artist_id, artist_name and album; null where the log does not tell.

    Raises:
        UserError: the log cannot be read, a column is missing, or more rows are rejected than
            `SourceConfig.max_reject_share`; the message names file, row, field and what was expected.

    Warns:
        UserWarning: rows were rejected, or most times of a table are in 1970.

    Examples:
        >>> import pandas as pd
        >>> plays = pd.DataFrame({"user": ["ann", "ann"], "song": ["a", "b"], "time": ["2026-01-01", "2026-01-02"]})
        >>> listens = read_listens(plays, user_id="user", track_id="song", played_at="time")
        >>> listens[["user_id", "track_id", "kind"]]
          user_id track_id    kind
        0     ann        a  listen
        1     ann        b  listen
    """
    if unknown := [name for name in more if name not in _FIELDS + _SETTINGS]:
        raise UserError(
            f"{unknown[0]} is not a field of a listen; the fields are {', '.join(_FIELDS)}, and the settings "
            f"{', '.join(_SETTINGS)}." + nearest(unknown[0], _FIELDS + _SETTINGS)
        )
    settings = {name: value for name, value in more.items() if name in _SETTINGS}
    config = replace(config or SourceConfig(), reader=source, **settings)
    config.columns = {**config.columns, **{name: column for name, column in more.items() if name in _FIELDS}}
    check(replace(config, reader=SourceConfig.reader), "source.")  # the reader is checked where it is looked up
    listens = checked_listens(log, config, rejects)
    if source == "table" and 2 * (listens["played_at"].dt.year() == 1970).sum() > len(listens):
        warnings.warn("most times lie in 1970: is time_unit right? (Seconds read as ms look so.)", stacklevel=2)
    return listens.to_pandas()


def checked_listens(
    log: str | Path | pd.DataFrame | pl.DataFrame, config: SourceConfig, rejects: str | Path | None = None
) -> pl.DataFrame:
    """Return the accepted rows of a log, RAW_EVENTS; see `read_listens`.

    Raises:
        UserError: the log cannot be read, or too many rows are rejected.

    Warns:
        UserWarning: rows were rejected.
    """
    taken, bad = _checked(log, config)
    if rejects is not None:
        bad.write_parquet(rejects)
    if len(bad):
        _tell(log, bad, len(taken) + len(bad), config, rejects)
    return taken.select(_FIELDS)


def _checked(log: str | Path | pd.DataFrame | pl.DataFrame, config: SourceConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the accepted rows of a log (RAW_EVENTS and `line`), and its rejects (REJECTS).

    Raises:
        UserError: the log cannot be read, or holds other rows than events.
    """
    taken = [pl.DataFrame(schema=pl.DataFrame(RAW_EVENTS.empty_table()).schema | {"line": pl.Int64})]
    bad = [pl.DataFrame(REJECTS.empty_table())]
    for path, chunk in _chunks(log, config):
        if chunk.table != "events":
            raise UserError(f"{path}: holds {chunk.table}, not listens.")
        rows, rejected = check_rows(chunk, path, config)
        taken.append(rows)
        bad.append(rejected)
    return pl.concat(taken, how="vertical_relaxed"), pl.concat(bad)


def _chunks(log: Any, config: SourceConfig) -> Iterator[tuple[Path, Chunk]]:
    if isinstance(log, str | Path):
        for path in files_of(replace(config, path=str(log))):
            yield from ((path, chunk) for chunk in read(path, config))
        return
    frame = log if isinstance(log, pl.DataFrame) else pl.from_pandas(log.reset_index(drop=True))
    wanted = {field: config.columns.get(field, field) for field in _FIELDS}
    for field, column in wanted.items():
        if (field in config.columns or field in ("user_id", "track_id", "played_at")) and column not in frame.columns:
            raise UserError(
                f"the frame has no column '{column}' for the field {field}; it has {', '.join(frame.columns)}. "
                "Say which column is which: user_id='...', track_id='...', played_at='...'."
            )
    rows = frame.select(pl.col(column).alias(field) for field, column in wanted.items() if column in frame.columns)
    yield Path("frame"), Chunk(rows.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line")))


def _tell(log: Any, bad: pl.DataFrame, rows: int, config: SourceConfig, rejects: str | Path | None) -> None:
    of = log if isinstance(log, str | Path) else "the frame"
    what = f"{of}: {len(bad)} of {rows} rows rejected. First: {first_told(bad)}."
    where = f"All of them: {rejects}." if rejects else "All of them: read_listens(..., rejects='rejects.parquet')."
    if len(bad) > config.max_reject_share * rows:
        raise UserError(f"{what} More than max_reject_share={config.max_reject_share}. {where}")
    warnings.warn(f"{what} {where}", stacklevel=4)
