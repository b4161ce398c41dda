"""The verb `simulate`: write an invented listening log, one Parquet file a day."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from fsvae.errors import UserError
from fsvae.schema import RAW_EVENTS
from pipelines.simulation.listening import CONTEXTS, KINDS, MAX_PLAYS, MAX_SESSIONS, Events, Listening
from pipelines.simulation.world import Ints, World, build_world, draw_users

_SETTINGS = b"fsvae.simulate"
"""Parquet metadata: the settings that a file was made with, so that two worlds never share a folder."""


@dataclass
class SimulateConfig:
    """Size and habits of the simulated log. The same values give the same bytes."""

    users: int = 800
    """Users in all, those who join later included."""
    tracks: int = 3000
    """Tracks in the catalogue, those that come out later included."""
    artists: int = 300
    """Artists; each has at least one track."""
    genres: int = 10
    """Genres, neighbours on a circle; each has at least one artist."""
    days: int = 28
    """Days of the log, one file each."""
    start: str = "2026-01-05"
    """First day (UTC), YYYY-MM-DD."""
    seed: int = 7
    """Seed of everything that is drawn."""
    sessions_per_day: float = 0.9
    """Mean listening sessions of a user in a day; single users differ widely."""
    plays_per_session: float = 12.0
    """Mean plays, listens and skips, in a session."""
    drift: float = 0.08
    """Chance, before each play, that the session's mood moves to a neighbouring genre."""
    new_tracks: float = 0.12
    """Share of the tracks that come out during the log."""
    new_users: float = 0.15
    """Share of the users that join during the log."""


@dataclass(frozen=True)
class SimulationSummary:
    """What was written."""

    files: int
    events: int
    listens: int
    skips: int
    likes: int
    saves: int


def simulate(config: SimulateConfig, out_dir: Path) -> SimulationSummary:
    """Write `events-YYYY-MM-DD.parquet` (RAW_EVENTS, sorted by played_at) for every day of the log to `out_dir`.

    Raises:
        UserError: a value of the config is impossible, or `out_dir` holds days of another log.
    """
    first_day = _check(config)
    paths = [out_dir / f"events-{first_day + timedelta(days=day)}.parquet" for day in range(config.days)]
    strangers = sorted({path.name for path in out_dir.glob("events-*.parquet")} - {path.name for path in paths})
    if strangers:
        raise UserError(f"{out_dir} holds {strangers[0]}, which is no day of this log. Choose an empty folder.")
    settings = json.dumps(asdict(config))
    present = [path for path in paths if path.exists()]
    if present and (pq.read_schema(present[0]).metadata or {}).get(_SETTINGS) != settings.encode():
        raise UserError(f"{out_dir} holds a log that was simulated with other settings. Choose another workdir=FOLDER.")
    out_dir.mkdir(parents=True, exist_ok=True)

    world_seed, users_seed, days_seed = np.random.SeedSequence(config.seed).spawn(3)
    world = build_world(
        world_seed,
        genres=config.genres,
        artists=config.artists,
        tracks=config.tracks,
        days=config.days,
        new_tracks=config.new_tracks,
    )
    users = draw_users(
        users_seed,
        world,
        users=config.users,
        days=config.days,
        sessions_per_day=config.sessions_per_day,
        new_users=config.new_users,
    )
    listening = Listening(
        world,
        users,
        first_weekday=first_day.weekday(),
        plays_per_session=config.plays_per_session,
        drift=config.drift,
    )
    width = max(5, len(str(config.users - 1)))
    user_ids = [f"u{number:0{width}d}" for number in range(config.users)]
    midnight_ms = int(datetime.combine(first_day, datetime.min.time(), UTC).timestamp()) * 1000
    counts = np.zeros(len(KINDS), np.int64)
    days = zip(paths, days_seed.spawn(config.days), strict=True)
    console = Console(stderr=True)
    for day, (path, seed) in enumerate(
        track(days, description="Simulating days", total=config.days, console=console, transient=True)
    ):
        events = listening.day(day, seed)
        counts += np.bincount(events.kind, minlength=len(KINDS))
        table = _table(events, world, user_ids, midnight_ms)
        _write(table.replace_schema_metadata({_SETTINGS: settings}), path)
    listens, skips, likes, saves = counts.tolist()
    return SimulationSummary(config.days, int(counts.sum()), listens, skips, likes, saves)


def _check(config: SimulateConfig) -> date:
    """Return the first day; every value that cannot be is refused by its name."""
    ranges: dict[str, tuple[float, float]] = {
        "users": (1, 10_000_000),
        "genres": (1, 1_000),
        "artists": (config.genres, 1_000_000),
        "tracks": (config.artists, 10_000_000),
        "days": (1, 3_660),
        "seed": (0, 2**63 - 1),
        "sessions_per_day": (0.01, MAX_SESSIONS),
        "plays_per_session": (1, MAX_PLAYS),
        "drift": (0, 1),
        "new_tracks": (0, 0.5),
        "new_users": (0, 0.9),
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        # Written so that a NaN is refused too.
        if not low <= value <= high:
            raise UserError(f"simulate.{name}: {value} is not between {low} and {high}.")
    try:
        return date.fromisoformat(config.start)
    except ValueError as error:
        raise UserError(f"simulate.start: '{config.start}' is not a day such as 2026-01-31.") from error


def _table(events: Events, world: World, user_ids: list[str], midnight_ms: int) -> pa.Table:
    def text(codes: Ints, words: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(words, pa.string())).dictionary_decode()

    artist = world.track_artist[events.track]
    columns = {
        "user_id": text(events.user, user_ids),
        "track_id": text(events.track, world.track_ids),
        "played_at": pa.array((events.at + midnight_ms) * 1000).cast(RAW_EVENTS.field("played_at").type),
        "kind": text(events.kind, list(KINDS)),
        "ms_played": pa.array(events.ms.astype(np.int32), mask=events.ms < 0),
        "duration_ms": pa.array(world.track_ms[events.track].astype(np.int32)),
        "context": text(events.context, list(CONTEXTS)),
        "title": text(events.track, world.titles),
        "artist_id": text(artist, world.artist_ids),
        "artist_name": text(artist, world.artist_names),
        "album": text(world.track_album[events.track], world.album_names),
    }
    return pa.table(columns, schema=RAW_EVENTS)


def _write(table: pa.Table, path: Path) -> None:
    """Write under another name first, so that a file with the day's name is always whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)
