"""A latent space as one HTML page, and as a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fsvae.features.clock import utc_text
from pipelines.reports.latent import latent_plots, latent_tables, map_plots
from pipelines.reports.latent.figures import DRIFT_DAYS, NEAREST_STATES, LatentFigures
from pipelines.reports.page import page
from pipelines.reports.plot import Plot
from pipelines.reports.words import count, decimal, percent
from pipelines.runtime.table import Table


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str
    plots: Sequence[Plot] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)


def html(what: LatentFigures) -> str:
    """Return the page."""
    about = (
        f"A state is what the model knows of a user just before a listen. The maps show {len(what.maps.user_N):,} "
        f"states of {count(len(np.unique(what.maps.user_N)), 'user')}, drawn by chance from the listens since "
        f"{utc_text(what.since_us)} UTC, which the model has not learned from."
    )
    found = {"run": what.run, "headline": headline(what), "about": about, "sections": sections(what)}
    return page("latent.html", "The latent space", **found)


def headline(what: LatentFigures) -> list[tuple[str, str]]:
    """Return the main figures: (value, description)."""
    use, found = what.use, []
    if what.model.latent == "gaussian":
        kl, of_mean = float(use.kl_Z.sum()), float(what.kl_of_mean_Z.sum())
        found = [
            (f"{use.count('collapsed')}", "collapsed onto the prior"),
            (f"{use.count('not used yet')}", "not used yet"),
            (decimal(kl), f"nats of KL: {decimal(of_mean)} for the means, {decimal(kl - of_mean)} for the variances"),
        ]
    return [
        (f"{use.count('active')} of {len(use.kl_Z)}", "dimensions active"),
        *found,
        *(
            (percent(near), f"of the {NEAREST_STATES} nearest states share the {name} (by chance {percent(chance)})")
            for name, (near, chance) in what.maps.agreement.items()
        ),
    ]


def sections(what: LatentFigures) -> list[Section]:
    """Return the parts of the page, in order."""
    return [
        Section(
            "Maps of user states",
            "The states on their two principal axes (PCA), which keep distances as well as two axes can. How far near "
            "states are alike in the whole latent is said above; an hour counts as shared when it is at most one away.",
            map_plots.map_plots(what),
            latent_tables.cluster_tables(what),
        ),
        Section(
            "Dimensions",
            "The mean of an active dimension differs between users. A collapsed one has about the prior as its "
            "posterior: where all have collapsed, the decoder does without the latent; lower model.beta, or set "
            "model.free_bits. One not used yet is the same for all users, too, but pays for a small variance.",
            latent_plots.kl_plots(what),
        ),
        Section(
            f"Drift over {DRIFT_DAYS} days",
            "Each user's state day by day, encoded from one side of the model alone and from both, as if always asked "
            "for at the same time (the user's mean hour, weekday and pause): no step comes from the time of the "
            "request. A side alone means little where training never left out the other (model.slow_dropout or "
            "model.fast_dropout is 0).",
            map_plots.drift_plots(what),
            [latent_tables.drift_table(what)],
        ),
        Section(
            "Between two users",
            "What is decoded on the straight way from one user's state to another's, in equal steps.",
            [latent_plots.walk_plot(what)],
            [latent_tables.walk_table(what)],
        ),
        Section(
            "Anomalies",
            "The reconstruction error of a listen is its negative log likelihood, given the state before it.",
            latent_plots.anomaly_plots(what),
            [latent_tables.user_table(what), latent_tables.listen_table(what)],
        ),
    ]


def summary(what: LatentFigures) -> list[str]:
    """Return the most important figures as lines of text."""
    lines = [f"{value} {label}" for value, label in headline(what)]
    for user in what.followed:
        steps = [f"{side} {latent_tables.median_step(one, what.space.unit):.2f}" for side, one in user.paths.items()]
        if steps:
            lines.append(f"{user.user_id}, a day's step (1: two random states): {', '.join(steps)}")
    most = zip(what.anomalies.user[:3], what.anomalies.score, strict=False)
    if named := [f"{what.user_ids[user]} ({score:+.1f})" for user, score in most]:
        lines.append(f"most anomalous users: {', '.join(named)}")
    return lines
