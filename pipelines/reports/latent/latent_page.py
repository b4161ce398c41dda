"""A latent space as one HTML page, and as a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from pipelines.reports.latent import latent_plots, latent_tables, map_plots, sentences
from pipelines.reports.latent.figures import DAYS, LatentFigures
from pipelines.reports.latent.sentences import cosine_figure, turn
from pipelines.reports.page import page
from pipelines.reports.plot import Plot
from pipelines.reports.table import Table
from pipelines.reports.words import count


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str
    plots: Sequence[Plot] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)


def html(what: LatentFigures) -> str:
    """Return the page."""
    return page(
        "latent.html",
        "The latent space",
        run=what.run,
        headline=sentences.headline(what),
        about=_about(what),
        sections=sections(what),
    )


def sections(what: LatentFigures) -> list[Section]:
    """Return the parts of the page, in order."""
    return [
        Section(
            "Maps of user states",
            sentences.agreement_sentence(what),
            map_plots.map_plots(what),
            latent_tables.cluster_tables(what),
        ),
        Section(
            "Dimensions",
            " ".join(filter(None, (sentences.collapse(what), sentences.traversal_sentence(what)))),
            latent_plots.unit_plots(what),
            [latent_tables.traversal_table(what)] if len(sentences.changing(what.traversal)) else [],
        ),
        Section(
            f"Drift over {DAYS} days",
            _drift_text(what),
            map_plots.drift_plots(what),
            [latent_tables.drift_table(what)],
        ),
        Section(
            "Between two users",
            sentences.smoothness_sentence(what),
            latent_plots.walk_plots(what),
            [latent_tables.walk_table(what)],
        ),
        Section(
            "Nearest users",
            sentences.neighbours_sentence(what),
            tables=latent_tables.neighbour_tables(what),
        ),
        Section(
            "Surprises",
            "The reconstruction error of a listen is its negative log likelihood, given the state before it.",
            latent_plots.anomaly_plots(what),
            [latent_tables.user_table(what), latent_tables.listen_table(what)],
        ),
    ]


def _about(what: LatentFigures) -> str:
    since = datetime.fromtimestamp(what.since_us / 1e6, UTC)
    return (
        f"A state is what the model knows of a user just before a listen. The maps show "
        f"{len(what.maps.user_N):,} states of {count(len(np.unique(what.maps.user_N)), 'user')}, drawn by chance from "
        f"the listens since {since:%Y-%m-%d %H:%M} UTC, which the model has not learned from."
    )


def _drift_text(what: LatentFigures) -> str:
    text = (
        "Each user's state day by day, encoded from one side of the model alone and from both, as if always asked for "
        "at the same time (the user's mean hour, weekday and pause): no step comes from the time of the request."
    )
    unused = [
        side
        for side, share in (("slow features", what.model.slow_dropout), ("recent listens", what.model.fast_dropout))
        if share == 0
    ]
    if unused and any(len(chosen.paths) > 1 for chosen in what.chosen):
        text += f" Training never left out the {' or the '.join(unused)}: read the single sides with care."
    return text


def summary(what: LatentFigures) -> list[str]:
    """Return the most important figures as lines of text."""
    smooth = what.walk.smoothness
    lines = [sentences.collapse(what), sentences.agreement_sentence(what)]
    for chosen in what.chosen:
        steps = [f"{side} {latent_tables.median_step(one, what.space.unit):.2f}" for side, one in chosen.paths.items()]
        if steps:
            lines.append(
                f"{chosen.user_id} moves from day to day by {', '.join(steps)} of the distance of two random states."
            )
    step, ends = float(np.median(smooth.neighbours)), float(np.median(smooth.ends))
    lines.append(
        f"One of {len(what.walk.to_next)} steps between two users has a cosine of {cosine_figure(step)}, a "
        f"turn of {turn(step)}; two random users have {cosine_figure(ends)}, {turn(ends)}."
    )
    named = list(zip(what.anomalies.user, what.anomalies.score, strict=True))[:3]
    if named:
        lines.append(
            "Most surprising users: "
            + ", ".join(f"{what.user_ids[user]} ({score:+.1f})" for user, score in named)
            + "."
        )
    return lines
