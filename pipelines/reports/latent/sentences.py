"""A latent space in words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fsvae.latent.paths import SIGMAS
from pipelines.reports.latent.figures import NEAREST_STATES, LatentFigures, Neighbour, Traversal
from pipelines.reports.latent.followed_users import mean_known
from pipelines.reports.words import count, decimal, percent

NONE = "-"


def headline(what: LatentFigures) -> list[tuple[str, str]]:
    """Return the figures that a reader wants first: (value, what it is)."""
    found = [(f"{what.use.active} of {len(what.use.kl_Z)}", "dimensions active")]
    if what.model.latent == "gaussian":
        of_mean, of_variance = kl_parts(what)
        paid_for_mean, paid_for_variance = kl_paid_for(what)
        found += [
            (decimal(of_mean), f"nats of KL paid for {paid_for_mean}"),
            (decimal(of_variance), f"nats paid for {paid_for_variance} ({decimal(of_mean + of_variance)} in all)"),
        ]
    smooth = what.walk.smoothness
    step, ends = float(np.median(smooth.neighbours)), float(np.median(smooth.ends))
    return [
        *found,
        *(
            (percent(near), f"of neighbours share the {name} (by chance {percent(chance)})")
            for name, (near, chance) in what.maps.agreement.items()
        ),
        (
            cosine_figure(step),
            f"cosine of a step between users, a turn of {turn(step)} (random pair {cosine_figure(ends)}, {turn(ends)})",
        ),
    ]


def kl_parts(what: LatentFigures) -> tuple[float, float]:
    """Return the nats of KL, over all dimensions, that are paid for the means and for the variances of the states."""
    of_mean = float(what.kl_of_mean_Z.sum())
    return of_mean, float(what.use.kl_Z.sum()) - of_mean


def kl_paid_for(what: LatentFigures) -> tuple[str, str]:
    """Return what these two parts of it are paid for."""
    if what.model.prior == "slow":
        return (
            "means other than what the slow features expect",
            "a variance other than what they expect",
        )
    return "the means of the states", "their small variance"


def collapse(what: LatentFigures) -> str:
    """Say how many dimensions are active, and what the KL is paid for; the other dimensions have collapsed onto the
    prior, or are not used yet."""
    dimensions, used, kl = len(what.use.kl_Z), what.use.active, float(what.use.kl_Z.sum())
    collapsed, unused = what.use.collapsed, what.use.unused
    if what.model.latent != "gaussian":
        return f"The latent is deterministic, so there is no KL; {used} of {dimensions} dimensions vary between users."
    if collapsed == dimensions:
        return (
            f"Posterior collapse: all {dimensions} dimensions are the same for every user ({kl:.2f} nats of KL), "
            "and the decoder does without the latent. Lower model.beta, or set model.free_bits."
        )
    if used == dimensions:
        said = f"No posterior collapse: all {dimensions} dimensions are active."
    else:
        verdict = "Posterior collapse in part" if collapsed else "No posterior collapse" if used else "Not used yet"
        said = f"{verdict}: {used} of {dimensions} dimensions are active."
    if collapsed:
        said += f" Collapsed onto the prior: {collapsed} (the same for every user, and nearly no KL)."
    if unused:
        said += f" Not used yet: {unused} (the same for every user, so that the KL there tells nothing)."
    (of_mean, of_variance), (for_mean, for_variance) = kl_parts(what), kl_paid_for(what)
    return (
        f"{said} Of {decimal(kl)} nats of KL, {decimal(of_mean)} are paid for {for_mean} and {decimal(of_variance)} "
        f"for {for_variance}, which by itself tells nothing of the users."
    )


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


def changing(moved: Traversal) -> NDArray[np.int64]:
    """Return the rows of a traversal in which the nearest track changes, those that turn most first."""
    rows = np.flatnonzero([len(set(tracks)) > 1 for tracks in moved.tracks])
    return rows[np.argsort(-moved.turn[rows], kind="stable")]


def traversal_sentence(what: LatentFigures) -> str:
    """Say how many of the active dimensions choose the track by themselves, and what it means if none does."""
    moved, rows = what.traversal, changing(what.traversal)
    active = len(moved.dimensions)
    if not active:
        return ""
    way = f"alone from {SIGMAS[0]:+.0f} to {SIGMAS[-1]:+.0f} standard deviations"
    if not len(rows):
        return (
            f"No active dimension changes the nearest track when it moves {way}: none turns what is decoded by more "
            f"than {moved.turn.max():.1f}°. No single one has a meaning that tracks could name; if the latent chooses "
            "the music, it does so with several together."
        )
    change, others = "changes" if len(rows) == 1 else "change", active - len(rows)
    return (
        f"{len(rows)} of {count(active, 'active dimension')} {change} the nearest track by moving {way}; "
        f"{others} {'does' if others == 1 else 'do'} not."
    )


def neighbours_sentence(what: LatentFigures) -> str:
    """Say whether the neighbours of the users that are shown have more in common with them than all others have."""
    said = ["Neighbours should have more taste and more tracks in common than others."]
    for side, by in (("both", "By the whole state"), ("slow", "By the slow features alone")):
        shown = [near for chosen in what.chosen if (near := chosen.neighbours.get(side))]
        taste = [mean_known(np.array(of_all)) for of_all in zip(*map(_tastes, shown), strict=True)]
        shared = [mean_known(np.array(of_all)) for of_all in zip(*map(_shared, shown), strict=True)]
        if not shown or not np.isfinite(taste + shared).all():
            continue
        holds = [name for name, (near, others) in (("taste", taste), ("tracks", shared)) if near > others]
        verdict = "they have" if len(holds) == 2 else f"they have more {holds[0]} only" if holds else "they have not"
        said.append(
            f"{by} {verdict}: over the {count(len(shown), 'user')} shown, the tastes have a mean cosine of "
            f"{cosine_figure(taste[0])} (all others {cosine_figure(taste[1])}), and {percent(shared[0])} of the tracks "
            f"are in common (all others {percent(shared[1])})."
        )
    return " ".join([*said, "For a single user it need not be so."])


def _tastes(near: list[Neighbour]) -> tuple[float, float]:
    """Return the mean cosine of tastes of a user's neighbours, and of all others."""
    return mean_known(np.array([one.taste for one in near[:-1]])), near[-1].taste


def _shared(near: list[Neighbour]) -> tuple[float, float]:
    """Return likewise the share of tracks in common."""
    return mean_known(np.array([one.shared for one in near[:-1]])), near[-1].shared


def smoothness_sentence(what: LatentFigures) -> str:
    """Say how smooth ways between users are."""
    smooth, steps = what.walk.smoothness, len(what.walk.to_next)
    step, lowest = (float(one) for one in np.quantile(smooth.neighbours, (0.5, 0.05)))
    ends, largest = float(np.median(smooth.ends)), 100 * np.median(smooth.largest_step)
    return (
        f"Between {count(len(smooth.ends), 'random pair')} of users, in {steps} equal steps of the latent: a step has "
        f"a cosine of {cosine_figure(step)}, a turn of {turn(step)} (median; the lowest twentieth below "
        f"{cosine_figure(lowest)}), the two users have {cosine_figure(ends)}, {turn(ends)}. The largest step takes "
        f"{largest:.0f} % of the turn of its way; on an even way it would be {100 / steps:.0f} %."
    )


def cosine_figure(value: float) -> str:
    """Return a cosine with two decimals; close to 1, with as many as tell it from 1."""
    if not math.isfinite(value):
        return NONE
    if abs(1 - value) < 1e-6:
        return "1"
    return f"{value:.{1 - math.floor(math.log10(1 - value))}f}" if value > 0.99 else f"{value:.2f}"


def turn(cosine: float) -> str:
    """Return the angle that a cosine is of."""
    return f"{math.degrees(math.acos(min(max(cosine, -1.0), 1.0))):.1f}°"
