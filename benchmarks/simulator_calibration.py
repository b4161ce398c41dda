"""The simulated log beside real ones: `python -m benchmarks.simulator_calibration LASTFM_CSV [SESSIONS_PARQUET ...]`.

Prints two Markdown tables: figures of whole logs, and what the next track is after histories of several lengths.
LASTFM_CSV is in the format of the JODIE data sets; SESSIONS_PARQUET have the columns `session_id`, `position` and
`track_id`, several files one after the other. Beside them stand the default simulated log, the one of long histories
(`simulate=long`), and one in the size and with the habits of the Last.fm log, `LASTFM`.
"""

from __future__ import annotations

import argparse
import math
import platform
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from fsvae.features.clock import DAY_US, EPOCH_WEEKDAY, HOUR_US, SECOND_US
from fsvae.logs.checks import check_rows
from fsvae.logs.source_config import SourceConfig
from fsvae.logs.sources import jodie
from pipelines.config.compose import load_config
from pipelines.reports.describe.statistics import (
    RECENT,
    Histories,
    Ints,
    describe,
    follower_hits,
    mean,
    peak_to_trough,
    zipf_exponent,
)
from pipelines.reports.words import count
from pipelines.simulation.simulate import SimulateConfig, simulate
from pipelines.tracking import git_commit

LASTFM = SimulateConfig(
    users=271,
    tracks=778,
    artists=50,
    genres=6,
    days=366,
    sessions_per_day=0.36,
    activity_spread=1.35,
    plays_per_session=3.0,
    session_spread=1.2,
    exploration=0.08,
    albums=0.25,
    routine=0.5,
    replay=0.11,
    popularity=0.5,
    new_tracks=0.4,
)
"""A simulated log like the first part of JODIE's Last.fm log: a year of 271 users and 778 of the 1000 top tracks."""


FIRST_LISTENS = 200
"""Number of listens of each user that `repeat_share_first` looks at: a repeat share grows with a history's length."""
OF_SESSIONS = (
    *("listens", "tracks", "sessions", "session_mean", "session_median", "session_p90", "session_single"),
    *("zipf", "top_tenth", "same_again", "follower_global"),
)
"""Figures that sessions without users and times tell, too."""

LENGTHS = (200, 1_000, 5_000, 20_000)
"""Limits between short, middle and long histories [listens]."""
LATEST = 100
"""Number of a user's latest listens that a model of the session knows at most."""

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Mix:
    """Where the next track comes from, by the length of the history before it: shares of some listens."""

    users: int
    new: float
    """Share of the tracks that the user has not heard before in the log."""
    latest: float
    """Share of those that are among the user's LATEST listens."""
    older: float
    """Share of those that the user has heard, but only before."""


@dataclass(frozen=True)
class _Row:
    label: str
    field: str
    form: str


_ROWS = [
    _Row("listens", "listens", "{:,.0f}"),
    _Row("users", "users", "{:,.0f}"),
    _Row("tracks heard", "tracks", "{:,.0f}"),
    _Row("days", "days", "{:.0f}"),
    _Row("listens per user, median", "listens_median", "{:,.0f}"),
    _Row("listens per user, 90th percentile", "listens_p90", "{:,.0f}"),
    _Row("listens per user, Gini", "listens_gini", "{:.2f}"),
    _Row("repeat share", "repeat_share", "{:.3f}"),
    _Row("repeat share of a user's first 200 listens", "repeat_share_first", "{:.3f}"),
    _Row("repeats of tracks not among the latest 128 listens", "repeat_old", "{:.3f}"),
    _Row("… at the start of sessions", "start_old", "{:.3f}"),
    _Row("the same track once more", "same_again", "{:.3f}"),
    _Row("tracks new to the log in its last fifth", "new_tracks", "{:.3f}"),
    _Row("session length, mean", "session_mean", "{:.1f}"),
    _Row("session length, median", "session_median", "{:.0f}"),
    _Row("session length, 90th percentile", "session_p90", "{:.0f}"),
    _Row("sessions of one listen", "session_single", "{:.2f}"),
    _Row("Zipf exponent of the tracks", "zipf", "{:.2f}"),
    _Row("share of the top tenth of the tracks", "top_tenth", "{:.2f}"),
    _Row("next track guessed by the most frequent follower", "follower_global", "{:.3f}"),
    _Row("… by the user's own most frequent follower", "follower_personal", "{:.3f}"),
    _Row("entropy of the hour (1: all alike)", "hour_entropy", "{:.3f}"),
    _Row("busiest hour to quietest", "hour_peak_to_trough", "{:.1f}"),
    _Row("concentration of a user's hours", "hour_personal", "{:.2f}"),
    _Row("busiest weekday to quietest", "weekday_peak_to_trough", "{:.2f}"),
]


def main() -> None:
    """Read, simulate, print."""
    parser = argparse.ArgumentParser(description="Statistics of the simulated log beside those of real ones.")
    parser.add_argument("lastfm", type=Path, help="CSV in JODIE's format")
    parser.add_argument("sessions", type=Path, nargs="*", help="Parquet with session_id, position, track_id")
    arguments = parser.parse_args()
    logs = {
        "Last.fm": Histories.of(_read_jodie(arguments.lastfm)),
        "simulated like it": _simulated(LASTFM),
        "simulated, default": _simulated(SimulateConfig()),
        "simulated, long": _simulated(load_config(["simulate=long"]).simulate),
    }
    columns = {name: figures(log) for name, log in logs.items()}
    if arguments.sessions:
        columns["#nowplaying"] = _read_sessions(arguments.sessions)
    given = {key: value for key, value in asdict(LASTFM).items() if value != asdict(SimulateConfig())[key]}
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(_markdown(columns))
    console.print(f"\n{_markdown_of_mixes(logs)}")
    console.print(
        f"\nSimulated like Last.fm: `{' '.join(f'simulate.{key}={value}' for key, value in given.items())}`. "
        f"Commit {git_commit()[:12]}, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"Python {platform.python_version()}, polars {pl.__version__}."
    )


def figures(log: Histories) -> Figures:
    """Return the figures of a log; None where it does not tell."""
    user, track, at, counts = log.user, log.track, log.at, log.counts
    old, early = log.since > RECENT, (log.n_before < FIRST_LISTENS) & (counts[user] >= FIRST_LISTENS)
    of_track = np.sort(np.bincount(track))[::-1]
    of_track = of_track[of_track > 0]
    of_hour = np.bincount(at // HOUR_US % 24, minlength=24)
    follows = np.flatnonzero(~log.starts)
    followed, following, train = log.user_track[follows - 1], track[follows], log.train[follows]
    return asdict(describe(log)) | {
        "listens": len(track),
        "tracks": len(of_track),
        "days": float(at.max() - at.min()) / DAY_US,
        "listens_median": float(np.median(counts)),
        "listens_p90": float(np.quantile(counts, 0.9)),
        "listens_gini": gini(counts),
        "repeat_share_first": mean((log.since > 0)[early]),
        "start_old": mean(old[(log.n_before >= RECENT) & log.starts]),
        "new_tracks": mean(~np.isin(track[~log.train], track[log.train])),
        "zipf": zipf_exponent(of_track),
        "top_tenth": float(of_track[: -(-len(of_track) // 10)].sum() / len(track)),
        "follower_personal": follower_hits(followed, following, train),
        "hour_entropy": _entropy(of_hour) / math.log(24),
        "hour_personal": _hour_concentration(user, at, counts),
        "weekday_peak_to_trough": peak_to_trough(np.bincount((at // DAY_US + EPOCH_WEEKDAY) % 7, minlength=7)),
    }


def figures_of_sessions(session: Ints, track: Ints) -> Figures:
    """Return what sessions without users and times tell.

    Args:
        session: [N] ascending, in order of time.
        track: [N] whole numbers from 0, in the order of each session.
    """
    starts = np.append(True, session[1:] != session[:-1])
    found = figures(Histories(np.cumsum(starts) - 1, track, SECOND_US * np.arange(len(track))))
    return {name: found[name] for name in OF_SESSIONS}


def mixes(log: Histories) -> list[Mix | None]:
    """Return where the next track comes from between each two LENGTHS of the history; None without such a listen."""
    between = ((log.n_before >= shortest) & (log.n_before < end) for shortest, end in pairwise(LENGTHS))
    return [_mix(log.user[rows], log.since[rows]) if rows.any() else None for rows in between]


def gini(counts: Ints) -> float:
    """Return the Gini coefficient of non-negative counts: the mean difference of two, by twice their mean."""
    rank = np.arange(1, len(counts) + 1)
    return float((2 * rank - len(counts) - 1) @ np.sort(counts)) / (len(counts) * float(counts.sum()))


def _mix(user: Ints, since: Ints) -> Mix:
    new, older = float((since == 0).mean()), float((since > LATEST).mean())
    return Mix(users=len(np.unique(user)), new=new, latest=1.0 - new - older, older=older)


def _entropy(counts: Ints) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(share @ np.log(1.0 / share))


def _hour_concentration(user: Ints, at: Ints, counts: Ints) -> float | None:
    """Return the length of the mean of each user's hours as points on a circle, 0 spread out, 1 always the same.

    It is the mean over the users with at least 50 listens, and does not depend on where the clock begins.
    """
    angle = 2 * np.pi * (at % DAY_US) / DAY_US
    east, north = (np.bincount(user, weights=turn(angle)) for turn in (np.cos, np.sin))
    return mean((np.hypot(east, north) / counts)[counts >= 50])


def _read_jodie(path: Path) -> pl.DataFrame:
    config = SourceConfig(reader="jodie", path=str(path), time_unit="s")
    return pl.concat([check_rows(chunk, path, config)[0] for chunk in jodie.read(path, config)])


def _read_sessions(paths: list[Path]) -> Figures:
    rows = pl.concat(
        [pl.read_parquet(path).with_columns(pl.lit(number).alias("file")) for number, path in enumerate(paths)]
    )
    rows = rows.sort("file", "session_id", "position")
    session = rows.select((pl.struct("file", "session_id").rle_id()).cast(pl.Int64)).to_series()
    return figures_of_sessions(session.to_numpy(), rows["track_id"].cast(pl.Int64).to_numpy())


def _simulated(config: SimulateConfig) -> Histories:
    with tempfile.TemporaryDirectory() as folder:
        simulate(config, Path(folder))
        rows = pl.read_parquet(Path(folder) / "*.parquet", columns=["user_id", "track_id", "played_at", "kind"])
    return Histories.of(rows.filter(pl.col("kind") == "listen"))


def _markdown(columns: dict[str, Figures]) -> str:
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for row in _ROWS:
        values = (found.get(row.field) for found in columns.values())
        cells = ("" if value is None else row.form.format(value) for value in values)
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _markdown_of_mixes(logs: dict[str, Histories]) -> str:
    lines = [f"| listens before | {' | '.join(logs)} |", f"|---|{'---:|' * len(logs)}"]
    found = [mixes(log) for log in logs.values()]
    for place, (shortest, end) in enumerate(pairwise(LENGTHS)):
        cells = (_cell(column[place]) for column in found)
        lines.append(f"| {shortest:,} to {end:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(mix: Mix | None) -> str:
    if mix is None:
        return ""
    return f"{100 * mix.new:.0f} / {100 * mix.latest:.0f} / {100 * mix.older:.0f} % ({count(mix.users, 'user')})"


if __name__ == "__main__":
    main()
