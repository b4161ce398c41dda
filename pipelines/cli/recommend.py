"""Recommend: the next tracks for one user in the terminal, as the endpoint would answer."""

from __future__ import annotations

from datetime import datetime

from rich.table import Table

from fsvae.bundle import load_bundle
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US, utc_text
from fsvae.schema import EARLIEST, LATEST
from pipelines.cli.console import console
from pipelines.reports.words import count
from pipelines.workspace import Workspace
from serving.online_recommender import OnlineRecommender, RecentListen

_LONG_AGO_DAYS = 7
"""A request so long after the last listen is told of: the model has nothing fresh to go by."""


def recommend(workspace: Workspace, user_id: str, recent: list[str], k: int, at: str) -> None:
    """Print the next k tracks for a user who has just heard some tracks.

    Args:
        workspace: where the model lies.
        user_id: who asks.
        recent: track ids, oldest first.
        k: how many tracks.
        at: time of the request, ISO 8601 with a time zone; empty: now.

    Raises:
        UserError: the time cannot be, or is before what the model knows of the user.
    """
    time = _time_us(at) if at else None
    version = workspace.tracker.resolve(workspace.config.serve.version or None)
    bundle = load_bundle(workspace.tracker.bundle(version))
    recommender = OnlineRecommender(bundle, workspace.config.serve.approximate_from)
    time = recommender.now(user_id) if time is None else time
    answer = recommender.next_tracks(user_id, [RecentListen(track_id) for track_id in recent], k, time)
    moment = utc_text(time, "%Y-%m-%d %H:%M:%S UTC")
    console.print(f"next tracks for {user_id} at {moment}, model version {version}", highlight=False, style="italic")
    table = Table()
    for heading in ("track", "score", "title", "artist"):
        table.add_column(heading)
    for track in answer.tracks:
        table.add_row(track.track_id, f"{track.score:.3f}", track.title or "", track.artist or "")
    console.print(table)
    if not answer.known_user:
        console.print(f"{user_id} is not in the training data: these rest on the recent listens and the hour alone.")
    if answer.unknown_tracks:
        console.print(f"Not in the catalogue: {', '.join(answer.unknown_tracks)}.")
    last = recommender.last_heard(user_id)
    if last is not None and not recent and time - last > _LONG_AGO_DAYS * DAY_US:
        console.print(
            f"The model last heard {user_id} {count((time - last) // DAY_US, 'day')} before: --at asks for another "
            "time, and --recent says what was heard since."
        )


def _time_us(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"--at {text} is not a time such as 2026-02-01T20:00:00+01:00.") from error
    if time.tzinfo is None:
        raise UserError(f"--at {text} is without a time zone: write {text}Z for UTC, or {text}+01:00.")
    if not EARLIEST <= time <= LATEST:
        raise UserError(f"--at {text} is not between {EARLIEST.year} and {LATEST.year}.")
    return round(time.timestamp() * 1_000_000)
