"""Recommend: the next tracks for one user, as the endpoint would answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fsvae.bundle import load_bundle
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US, utc_text
from fsvae.online_question import Answer, RecentListen
from fsvae.online_recommender import OnlineRecommender
from fsvae.schema import EARLIEST, LATEST
from pipelines.reports.words import count
from pipelines.runtime.table import Table
from pipelines.runtime.watch import Summary
from pipelines.workspace import Workspace

_LONG_AGO_DAYS = 7
"""Days since the last listen from which on the answer says so, as the model has no recent listens to read."""


@dataclass(frozen=True)
class Recommendation(Summary):
    """The next tracks for a user."""

    user_id: str
    at: int
    """Time of the request [us since 1970 UTC]."""
    version: int
    answer: Answer
    days_since: int | None
    """Days since the last listen that the model knows; None where these are few."""
    verb = "recommend"

    def tables(self) -> list[Table]:
        """Return the tracks."""
        moment = utc_text(self.at, "%Y-%m-%d %H:%M:%S UTC")
        title = f"next tracks for {self.user_id} at {moment}, model version {self.version}"
        rows = [(t.track_id, f"{t.score:.3f}", t.title or "", t.artist or "") for t in self.answer.tracks]
        return [Table(title, ("track", "score", "title", "artist"), rows, texts=(2, 3))]

    def lines(self) -> list[str]:
        """Return notes on the recommendation."""
        found = []
        if not self.answer.known_user:
            found.append(
                f"{self.user_id} is not in the training data: these rest on the recent listens and the hour alone."
            )
        if self.answer.unknown_tracks:
            found.append(f"Not in the catalogue: {', '.join(self.answer.unknown_tracks)}.")
        if self.days_since is not None:
            found.append(
                f"The model last heard {self.user_id} {count(self.days_since, 'day')} before: --at asks for another "
                "time, and --recent says what was heard since."
            )
        return found


def recommend(workspace: Workspace, user_id: str, recent: list[str], k: int, at: str) -> Recommendation:
    """Return the next k tracks for a user who has just heard some tracks.

    Args:
        workspace: workspace of the model.
        user_id: id of the user.
        recent: track ids, oldest first.
        k: number of tracks.
        at: time of the request, ISO 8601 with a time zone; empty: now.

    Raises:
        UserError: the time is invalid, or before the last listen of the user that the model knows.
    """
    time = _time_us(at) if at else None
    version = workspace.tracker.resolve(workspace.config.serve.version or None)
    recommender = OnlineRecommender(
        load_bundle(workspace.tracker.bundle(version)), workspace.config.serve.approximate_from
    )
    time = recommender.now(user_id) if time is None else time
    answer = recommender.next_tracks(user_id, [RecentListen(track_id) for track_id in recent], k, time)
    last = recommender.last_heard(user_id)
    long_ago = last is not None and not recent and time - last > _LONG_AGO_DAYS * DAY_US
    days = (time - last) // DAY_US if last is not None and long_ago else None
    return Recommendation(user_id, time, version, answer, days)


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
