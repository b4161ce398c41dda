"""What the page says and draws, of figures that are written down here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from plain_model import PLAIN

from fsvae.evaluation.latent_use import LatentUse
from fsvae.latent.anomaly import Anomalies, ReconstructionErrors
from fsvae.latent.maps import Clusters, Space
from fsvae.latent.paths import Path
from fsvae.models.model_config import ModelConfig
from pipelines.reports.latent.figures import FollowedUser, LatentFigures, Maps, Walk
from pipelines.reports.latent.latent_page import headline, summary
from pipelines.reports.latent.latent_plots import kl_plots
from pipelines.reports.latent.latent_tables import drift_table, user_table, walk_table

NO_INDEX, NO_NUMBER = np.zeros(0, dtype=np.int64), np.zeros(0)


def figures(**changes: Any) -> LatentFigures:
    """Three dimensions: one active, one not used yet, one collapsed; two users, and a step of 5 degrees."""
    step = np.cos(np.radians(5.0))
    nothing = Clusters(NO_INDEX, np.zeros((0, 2)))
    what = LatentFigures(
        run="run",
        model=ModelConfig(**PLAIN),
        since_us=0,
        space=Space(np.zeros(3), np.zeros((2, 3)), np.array([0.5, 0.5]), 2.0),
        use=LatentUse(np.array([0.05, 3.5, 2.25]), np.array([0.0, 1.0, 0.0]), np.ones(3)),
        kl_of_mean_Z=np.array([0.0, 1.5, 0.25]),
        maps=Maps(NO_INDEX, NO_INDEX, np.zeros((0, 2)), nothing, nothing, [], [], {"taste": (0.5, 0.1)}),
        followed=[
            FollowedUser("ann", 9, {"both": Path(np.arange(3), np.float32([[0, 0, 0], [0, 0, 1], [0, 0, 4]]))}),
            FollowedUser("bob", 1, {}),
        ],
        walk=Walk("ann", "bob", ["A", "B"], np.array([1 + 1e-9, step]), np.array([step, 1]), np.array([step])),
        errors=ReconstructionErrors(NO_INDEX, NO_NUMBER),
        anomalies=Anomalies(np.array([1, 0]), np.array([9.0, 2.0]), np.array([50, 12]), np.array([4.04, -1.0])),
        anomalous=[],
        user_ids=["ann", "bob"],
    )
    return dataclasses.replace(what, **changes)


def test_the_first_figures_tell_the_price_of_the_variances_from_that_of_the_means() -> None:
    """1.5 + .25 of .05 + 3.5 + 2.25 nats are for means: 4.05 are left, which one decimal says as 4."""
    assert headline(figures()) == [
        ("1 of 3", "dimensions active"),
        ("1", "collapsed onto the prior"),
        ("1", "not used yet"),
        ("5.8", "nats of KL: 1.8 for the means, 4 for the variances"),
        ("50.0 %", "of the 10 nearest states share the taste (by chance 10.0 %)"),
    ]
    point = headline(figures(model=ModelConfig(**PLAIN, latent="deterministic")))
    assert [value for value, _ in point] == ["1 of 3", "50.0 %"]


def test_the_terminal_has_the_first_figures_the_drift_and_the_most_surprising_users() -> None:
    """ann's steps are 1 and 3, so the median is 2, in a space where two random states are 2 apart."""
    what = figures()
    lines = summary(what)
    assert lines[:5] == [f"{value} {label}" for value, label in headline(what)]
    assert lines[5:] == [
        "ann, a day's step (1: two random states): both 1.00",
        "most anomalous users: bob (+4.0), ann (-1.0)",
    ]


def test_drift_is_told_in_distances_of_random_states() -> None:
    table = drift_table(figures())
    assert table.headings == ("user", "listens", "days", "a day's step, both", "in all, both")
    assert table.rows == [("ann", "9", "3", "1.00", "2.00")]
    day = FollowedUser("ann", 1, {"both": Path(np.arange(1), np.zeros((1, 3), dtype=np.float32))})
    assert drift_table(figures(followed=[day])).rows == [("ann", "1", "1", "-", "0.00")]


def test_the_tracks_on_the_way_between_two_users_are_named() -> None:
    table = walk_table(figures())
    assert table.rows == [("A", "0 %"), ("B", "100 %")] and table.note.startswith("2 tracks on the way")


def test_the_most_surprising_user_is_first() -> None:
    assert user_table(figures()).rows == [("bob", "+4.0", "9.0", "50"), ("ann", "-1.0", "2.0", "12")]
    nobody = Anomalies(NO_INDEX, NO_NUMBER, NO_INDEX, NO_NUMBER)
    assert user_table(figures(anomalies=nobody)).rows == [("-", "-", "-", "-")]


def test_the_kl_of_dimensions_is_drawn_in_a_colour_for_what_they_are_and_in_two_parts() -> None:
    what, drawn = figures(), Figure()
    axes = drawn.subplots()
    kl_plots(what)[0].draw(axes)
    drawn_bars = axes.patches[:6]  # two more are for the legend
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in drawn_bars]
    assert np.array(bars) == pytest.approx(
        np.array([[0, 0, 1.5], [0, 1.5, 2], [1, 0, 0.25], [1, 0.25, 2], [2, 0, 0], [2, 0, 0.05]])
    )
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [
        "active (1)", "not used yet (1)", "collapsed (1)", "full: for the mean", "faint: for the variance",
    ]  # fmt: skip
    colours = [to_rgb(bar.get_facecolor()) for bar in drawn_bars]
    assert colours[::2] == colours[1::2] and [bar.get_alpha() for bar in drawn_bars] == [None, 0.4] * 3
    for one, other in ((0, 2), (0, 4), (2, 4)):
        assert np.abs(np.subtract(colours[one], colours[other])).max() > 0.3
    (crosses,) = axes.lines
    assert crosses.get_xdata().tolist() == [2]
