"""A latent space as tables of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsvae.features.clock import utc_text
from fsvae.latent.maps import NO_TASTE, Clusters
from fsvae.latent.paths import Path
from pipelines.reports.latent.figures import ANOMALIES_SHOWN, LATEST, LEAST, LatentFigures
from pipelines.reports.words import NONE, count
from pipelines.runtime.table import Table


def cluster_tables(what: LatentFigures) -> list[Table]:
    """Return the clusters of taste and of last tracks, with the tracks nearest to their centres."""
    maps = what.maps
    taste = "k-means of the directions of slow taste vectors (half-life 28 days) as of the day of each state"
    last = "the same of the tracks heard last before each state"
    return [
        _clusters("Clusters of taste", maps.taste, maps.taste_tracks, maps.user_N, taste),
        _clusters("Clusters of last tracks", maps.last, maps.last_tracks, maps.user_N, last),
    ]


def _clusters(title: str, clusters: Clusters, tracks: list[list[str]], user_N: NDArray[np.int64], note: str) -> Table:
    rows = []
    for cluster in (*range(len(tracks)), NO_TASTE):
        inside = clusters.label_N == cluster
        if inside.any():
            name, named = ("none yet", NONE) if cluster == NO_TASTE else (f"{cluster + 1}", ", ".join(tracks[cluster]))
            rows.append((name, f"{inside.sum():,}", f"{len(np.unique(user_N[inside])):,}", named))
    return Table(title, ("cluster", "states", "users", "nearest tracks"), rows, note, texts=(3,))


def drift_table(what: LatentFigures) -> Table:
    """Return the distances that the followed users moved."""
    drifted = [user for user in what.followed if user.paths]
    sides = list(drifted[0].paths) if drifted else []
    rows = []
    for user in drifted:
        steps = [_figure(median_step(one, what.space.unit)) for one in user.paths.values()]
        net = [_figure(one.net / what.space.unit) for one in user.paths.values()]
        days = len(next(iter(user.paths.values())).day_T)
        rows.append((user.user_id, f"{user.listens:,}", f"{days}", *steps, *net))
    return Table(
        "How far they went",
        (
            "user",
            "listens",
            "days",
            *(f"a day's step, {side}" for side in sides),
            *(f"in all, {side}" for side in sides),
        ),
        rows,
        "a day's step is the median from one day with listens to the next, in all is from the first day to the last; 1 "
        "is the distance of two random states",
    )


def median_step(one: Path, unit: float) -> float:
    """Return the median distance from a day to the next one, in units of the space; NaN for a single day."""
    return float(np.median(one.steps)) / unit if len(one.steps) else float("nan")


def walk_table(what: LatentFigures) -> Table:
    """Return the tracks on the path from one user to another."""
    walk = what.walk
    rows = [(track, f"{100 * stop / (len(walk.tracks) - 1):.0f} %") for stop, track in enumerate(walk.tracks)]
    return Table(
        f"Tracks met from {walk.begin} to {walk.end}",
        ("nearest track", "of the way"),
        rows,
        f"{count(len(set(walk.tracks)), 'track')} on the way; both states are those before the users' last listens",
    )


def user_table(what: LatentFigures) -> Table:
    """Return the most anomalous users."""
    found = what.anomalies
    rows = [
        (what.user_ids[found.user[row]], f"{found.score[row]:+.1f}", f"{found.nll[row]:.1f}", f"{found.listens[row]}")
        for row in range(min(ANOMALIES_SHOWN, len(found.user)))
    ]
    return Table(
        "Most anomalous users",
        ("user", "score", "mean error [nats]", "listens"),
        rows or [(NONE, NONE, NONE, NONE)],
        f"over the latest {LATEST} listens of users with {LEAST} or more; the score counts robust standard deviations "
        "from the median user",
    )


def listen_table(what: LatentFigures) -> Table:
    """Return the most anomalous listens."""
    rows = [
        (one.track, one.user_id, utc_text(one.played_at), f"{one.nll:.1f}", f"{one.heard}", one.expected)
        for one in what.anomalous
    ]
    nll = what.errors.nll
    return Table(
        "Most anomalous listens",
        ("track", "user", "when (UTC)", "error [nats]", "heard before", "expected"),
        rows,
        f"of {len(nll):,} listens with a mean error of {nll.mean():.1f} nats" if len(nll) else "",
        texts=(1, 2, 5),
    )


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else NONE
