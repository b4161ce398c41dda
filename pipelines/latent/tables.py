"""A latent space as words and tables of text."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fsvae.latent.maps import NO_TASTE, Clusters
from fsvae.latent.paths import SIGMAS, Path
from pipelines.latent.figures import LATEST, LEAST, NEAREST_STATES, SURPRISING, LatentFigures
from pipelines.pages import Table
from pipelines.words import count, decimal, percent

_NONE = "-"


def headline(what: LatentFigures) -> list[tuple[str, str]]:
    """Return the figures that a reader wants first: (value, what it is)."""
    found = [(f"{what.use.active} of {len(what.use.kl_Z)}", "dimensions active")]
    if what.model.latent == "gaussian":
        found.append((decimal(float(what.use.kl_Z.sum())), "nats KL in all"))
    smooth = what.walk.smoothness
    return [
        *found,
        *(
            (percent(near), f"of neighbours share the {name} (by chance {percent(chance)})")
            for name, (near, chance) in what.maps.agreement.items()
        ),
        (
            f"{np.median(smooth.neighbours):.2f}",
            f"cosine of a step between users (random pair {np.median(smooth.ends):.2f})",
        ),
    ]


def collapse(what: LatentFigures) -> str:
    """Say how many dimensions are active; the others have collapsed onto the prior, or are not used yet."""
    dimensions, used, kl = len(what.use.kl_Z), what.use.active, float(what.use.kl_Z.sum())
    collapsed, unused = what.use.collapsed, what.use.unused
    if what.model.latent != "gaussian":
        return f"The latent is deterministic, so there is no KL; {used} of {dimensions} dimensions vary between users."
    if used == dimensions:
        return f"No posterior collapse: all {dimensions} dimensions are active, with {decimal(kl)} nats of KL in all."
    if collapsed == dimensions:
        return (
            f"Posterior collapse: all {dimensions} dimensions are the same for every user ({kl:.2f} nats of KL), "
            "and the decoder does without the latent. Lower model.beta, or set model.free_bits."
        )
    verdict = "Posterior collapse in part" if collapsed else "No posterior collapse" if used else "Not used yet"
    said = f"{verdict}: {used} of {dimensions} dimensions are active, with {decimal(kl)} nats of KL in all."
    if collapsed:
        said += f" Collapsed onto the prior: {collapsed} (the same for every user, and nearly no KL)."
    if unused:
        said += f" Not used yet: {unused} (the same for every user, so that the KL there tells nothing)."
    return said


def agreement_sentence(what: LatentFigures) -> str:
    """Say what neighbours share, more than chance would have it."""
    shares = [
        f"the {name} in {percent(near)} (by chance {percent(chance)})"
        for name, (near, chance) in what.maps.agreement.items()
    ]
    return (
        f"The {NEAREST_STATES} nearest states of other users, in the whole latent, share {', '.join(shares[:-1])} and "
        f"{shares[-1]}; an hour counts as shared when it is at most one away."
    )


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
            name, named = ("none yet", _NONE) if cluster == NO_TASTE else (f"{cluster + 1}", ", ".join(tracks[cluster]))
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
        to_next = f"{walk.to_next[stop]:.2f}" if stop < last else _NONE
        rows.append(
            (track, f"{100 * stop / last:.0f} %", f"{walk.to_begin[stop]:.2f}", f"{walk.to_end[stop]:.2f}", to_next)
        )
    return Table(
        f"Tracks met from {walk.begin} to {walk.end}",
        ("nearest track", "of the way", f"cosine to {walk.begin}", f"to {walk.end}", "to the next stop"),
        rows,
        f"{count(len(set(walk.tracks)), 'track')} on the way; both states are those before the users' last listens",
    )


def smoothness_sentence(what: LatentFigures) -> str:
    """Say how smooth ways between users are."""
    smooth, steps = what.walk.smoothness, len(what.walk.to_next)
    step, lowest = np.quantile(smooth.neighbours, (0.5, 0.05))
    largest = 100 * np.median(smooth.largest_step)
    return (
        f"Between {count(len(smooth.ends), 'random pair')} of users, in {steps} equal steps of the latent: a step has "
        f"a cosine of {step:.3f} (median; the lowest twentieth below {lowest:.3f}), the two users have "
        f"{np.median(smooth.ends):.3f}. The largest step takes {largest:.0f} % of the turn of its way; on an even way "
        f"it would be {100 / steps:.0f} %."
    )


def traversal_table(what: LatentFigures) -> Table:
    """Return the tracks along each active dimension."""
    moved, kl = what.traversal, what.use.kl_Z
    rows = [
        (f"{dimension}", f"{kl[dimension]:.2f}", f"{turn:.0f}°", *tracks)
        for dimension, turn, tracks in zip(moved.dimensions.tolist(), moved.turn, moved.tracks, strict=True)
    ]
    return Table(
        "Traversal of each active dimension",
        ("dimension", "KL [nats]", "turn", *(f"{sigma:+.0f} sd" if sigma else "centre" for sigma in SIGMAS)),
        rows,
        "the nearest track when one dimension moves and all others stay at the centre of all states; sd: standard "
        "deviations of the aggregate posterior",
        texts=range(3, 3 + len(SIGMAS)),
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
                rows.append((first, one.user_id, _figure(one.distance), _figure(one.taste), percent(one.shared)))
        headings = ("user", "near", "distance", "cosine of tastes", "tracks in common")
        note = f"{by[side]}; 1 is the distance of two random ones"
        found.append(Table(titles[side], headings, rows, note, texts=(1,)))
    return found


def user_table(what: LatentFigures) -> Table:
    """Return the users that surprise most."""
    found = what.anomalies
    rows = [
        (what.user_ids[found.user[row]], f"{found.score[row]:+.1f}", f"{found.nll[row]:.1f}", f"{found.listens[row]}")
        for row in range(min(SURPRISING, len(found.user)))
    ]
    return Table(
        "Most surprising users",
        ("user", "score", "mean error [nats]", "listens"),
        rows or [(_NONE, _NONE, _NONE, _NONE)],
        f"over the latest {LATEST} listens of users with {LEAST} or more; the score counts robust standard deviations "
        "from the median user",
    )


def listen_table(what: LatentFigures) -> Table:
    """Return the listens that surprise most."""
    rows = []
    for one in what.surprising:
        when = f"{datetime.fromtimestamp(one.played_at / 1e6, UTC):%Y-%m-%d %H:%M}"
        rows.append((one.track, one.user_id, when, f"{one.nll:.1f}", f"{one.heard}", one.expected))
    nll = what.surprise.nll
    return Table(
        "Most surprising listens",
        ("track", "user", "when (UTC)", "error [nats]", "heard before", "expected"),
        rows,
        f"of {len(nll):,} listens with a mean error of {nll.mean():.1f} nats" if len(nll) else "",
        texts=(1, 2, 5),
    )


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else _NONE
