"""A latent space as tables of text."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fsvae.latent.maps import NO_TASTE, Clusters
from fsvae.latent.paths import SIGMAS, Path
from pipelines.reports.latent.figures import ANOMALIES_SHOWN, LATEST, LEAST, TRAVERSED, LatentFigures
from pipelines.reports.latent.sentences import NONE, changing, cosine_figure, turn
from pipelines.reports.table import Table
from pipelines.reports.words import count, percent


def cluster_tables(what: LatentFigures) -> list[Table]:
    """Return the clusters of taste and of last tracks, and the tracks in their middle."""
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
    """Return how far the chosen users went."""
    drifted = [chosen for chosen in what.chosen if chosen.paths]
    sides = list(drifted[0].paths) if drifted else []
    rows = []
    for chosen in drifted:
        steps = [_figure(median_step(one, what.space.unit)) for one in chosen.paths.values()]
        net = [_figure(one.net / what.space.unit) for one in chosen.paths.values()]
        days = len(next(iter(chosen.paths.values())).day_T)
        rows.append((chosen.user_id, f"{chosen.listens:,}", f"{days}", *steps, *net))
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
    """Return the tracks on the way from one user to another."""
    walk = what.walk
    last = len(walk.tracks) - 1
    rows = []
    for stop, track in enumerate(walk.tracks):
        to_next = turn(walk.to_next[stop]) if stop < last else NONE
        rows.append((track, f"{100 * stop / last:.0f} %", turn(walk.to_begin[stop]), turn(walk.to_end[stop]), to_next))
    return Table(
        f"Tracks met from {walk.begin} to {walk.end}",
        ("nearest track", "of the way", f"turn from {walk.begin}", f"from {walk.end}", "to the next stop"),
        rows,
        f"{count(len(set(walk.tracks)), 'track')} on the way; both states are those before the users' last listens",
    )


def traversal_table(what: LatentFigures) -> Table:
    """Return the tracks along the dimensions that change them."""
    moved = what.traversal
    rows = []
    for row in changing(moved)[:TRAVERSED]:
        dimension = moved.dimensions[row]
        of_mean, kl = what.kl_of_mean_Z[dimension], what.use.kl_Z[dimension]
        paid = (f"{of_mean:.2f}", f"{kl - of_mean:.2f}") if what.model.latent == "gaussian" else ()
        rows.append((f"{dimension}", f"{moved.turn[row]:.0f}°", *paid, *moved.tracks[row]))
    headings = ["dimension", "turn"]
    if what.model.latent == "gaussian":
        headings += ["KL for the mean", "for the variance [nats]"]
    return Table(
        "Traversal of the dimensions that change the track",
        (*headings, *(f"{sigma:+.0f} sd" if sigma else "centre" for sigma in SIGMAS)),
        rows,
        "the nearest track when one dimension moves and all others stay at the centre of all states; those that turn "
        f"the prediction most first, {TRAVERSED} at most; sd: standard deviations of the aggregate posterior",
        texts=range(len(headings), len(headings) + len(SIGMAS)),
    )


def neighbour_tables(what: LatentFigures) -> list[Table]:
    """Return the users nearest to each chosen one, by the whole state and by its slow side alone."""
    by = {
        "both": "by the states before their last listens",
        "slow": "by the same states from the slow side alone, all asked for at the same time",
    }
    titles = {"both": "Nearest users", "slow": "Nearest users by the slow features alone"}
    found = []
    for side in what.chosen[0].neighbours:
        rows = []
        for chosen in what.chosen:
            for place, one in enumerate(chosen.neighbours[side]):
                first = chosen.user_id if place == 0 else ""
                taste = cosine_figure(one.taste)
                rows.append((first, one.user_id, _figure(one.distance), taste, percent(one.shared)))
            if not chosen.neighbours[side]:
                rows.append((chosen.user_id, "left out", NONE, NONE, NONE))
        note = f"{by[side]}; 1 is the distance of two random ones"
        if side == "slow" and what.unknown:
            note += f"; left out: {what.unknown:,} of {count(what.asked, 'user')}, of whom the slow side knows nothing"
        headings = ("user", "near", "distance", "cosine of tastes", "tracks in common")
        found.append(Table(titles[side], headings, rows, note, texts=(1,)))
    return found


def user_table(what: LatentFigures) -> Table:
    """Return the users that surprise most."""
    found = what.anomalies
    rows = [
        (what.user_ids[found.user[row]], f"{found.score[row]:+.1f}", f"{found.nll[row]:.1f}", f"{found.listens[row]}")
        for row in range(min(ANOMALIES_SHOWN, len(found.user)))
    ]
    return Table(
        "Most surprising users",
        ("user", "score", "mean error [nats]", "listens"),
        rows or [(NONE, NONE, NONE, NONE)],
        f"over the latest {LATEST} listens of users with {LEAST} or more; the score counts robust standard deviations "
        "from the median user",
    )


def listen_table(what: LatentFigures) -> Table:
    """Return the listens that surprise most."""
    rows = []
    for one in what.anomalous:
        when = f"{datetime.fromtimestamp(one.played_at / 1e6, UTC):%Y-%m-%d %H:%M}"
        rows.append((one.track, one.user_id, when, f"{one.nll:.1f}", f"{one.heard}", one.expected))
    nll = what.errors.nll
    return Table(
        "Most surprising listens",
        ("track", "user", "when (UTC)", "error [nats]", "heard before", "expected"),
        rows,
        f"of {len(nll):,} listens with a mean error of {nll.mean():.1f} nats" if len(nll) else "",
        texts=(1, 2, 5),
    )


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else NONE
