"""What the page says and draws, of figures that are written down here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fsvae.evaluation.latent_use import LatentUse
from fsvae.latent.anomaly import Anomalies, ReconstructionErrors
from fsvae.latent.maps import Clusters, Space
from fsvae.latent.paths import Smoothness
from fsvae.models.model_config import ModelConfig
from pipelines.reports.latent.figures import Chosen, LatentFigures, Maps, Neighbour, Traversal, Walk
from pipelines.reports.latent.latent_page import sections, summary
from pipelines.reports.latent.latent_plots import unit_plots
from pipelines.reports.latent.latent_tables import neighbour_tables, traversal_table, walk_table
from pipelines.reports.latent.sentences import cosine_figure, headline, neighbours_sentence, traversal_sentence, turn

NO_INDEX, NO_NUMBER = np.zeros(0, dtype=np.int64), np.zeros(0)


def neighbours(*taste_and_shared: tuple[float, float]) -> list[Neighbour]:
    """The last one is the mean of all others."""
    return [Neighbour(f"n{place}", 1.0, *figures) for place, figures in enumerate(taste_and_shared)]


def figures(**changes: Any) -> LatentFigures:
    """Three dimensions: one active, one not used yet, one collapsed; two users, and a step of 5 degrees."""
    step = np.cos(np.radians(5.0))
    near = {"both": neighbours((0.5, 0.2), (0.1, 0.1))}
    nothing = Clusters(NO_INDEX, np.zeros((0, 2)))
    what = LatentFigures(
        run="run",
        model=ModelConfig(),
        since_us=0,
        space=Space(np.zeros(3), np.ones(3), np.zeros((2, 3)), np.array([0.5, 0.5]), 1.0),
        use=LatentUse(np.array([0.05, 3.5, 2.25]), np.array([0.0, 1.0, 0.0]), np.ones(3)),
        kl_of_mean_Z=np.array([0.0, 1.5, 0.25]),
        maps=Maps(NO_INDEX, NO_INDEX, np.zeros((0, 2)), None, nothing, nothing, [], [], {"taste": (0.5, 0.1)}),
        chosen=[Chosen("ann", 9, {}, near), Chosen("bob", 9, {}, near)],
        asked=10,
        unknown=0,
        walk=Walk("ann", "bob", ["A", "B"], np.array([1, step]), np.array([step, 1]), np.array([step]),
                  Smoothness(np.array([step]), np.array([0.5]), np.array([1.0]))),
        traversal=Traversal(np.array([1]), [["A"] * 4 + ["B"]], np.array([20.0])),
        errors=ReconstructionErrors(NO_INDEX, NO_NUMBER),
        anomalies=Anomalies(NO_INDEX, NO_NUMBER, NO_INDEX, NO_NUMBER),
        anomalous=[],
        user_ids=["ann", "bob"],
    )  # fmt: skip
    return dataclasses.replace(what, **changes)


def test_a_cosine_close_to_1_is_told_from_1() -> None:
    values = [0.9962, 0.99962, 0.96, 0.5, 0.0, -0.25, -1.0, 1.0, 1 - 1e-9, 1 + 1e-9, float("nan")]
    assert [cosine_figure(value) for value in values] == [
        "0.9962", "0.99962", "0.96", "0.50", "0.00", "-0.25", "-1.00", "1", "1", "1", "-",
    ]  # fmt: skip
    assert (turn(0.9962), turn(0.5), turn(1 + 1e-9), turn(-1)) == ("5.0°", "60.0°", "0.0°", "180.0°")


def test_steps_between_users_are_told_by_their_angles() -> None:
    """The cosine of 5 degrees is .99619, that of 60 is a half."""
    what = figures()
    said = "has a cosine of 0.9962, a turn of 5.0°; two random users have 0.50, 60.0°."
    assert any(line.endswith(said) for line in summary(what))
    assert headline(what)[-1] == (
        "0.9962", "cosine of a step between users, a turn of 5.0° (random pair 0.50, 60.0°)",
    )  # fmt: skip
    assert [row[1:] for row in walk_table(what).rows] == [
        ("0 %", "0.0°", "5.0°", "5.0°"),
        ("100 %", "5.0°", "0.0°", "-"),
    ]


@pytest.mark.parametrize(
    ("model", "mean", "variance"),
    [
        (
            ModelConfig(),
            "nats of KL paid for the means of the states",
            "nats paid for their small variance (5.8 in all)",
        ),
        (
            ModelConfig(prior="slow"),
            "nats of KL paid for means other than what the slow features expect",
            "nats paid for a variance other than what they expect (5.8 in all)",
        ),
    ],
)
def test_the_first_figures_tell_the_price_of_the_variance_from_that_of_the_means(
    model: ModelConfig, mean: str, variance: str
) -> None:
    """1.5 + .25 of .05 + 3.5 + 2.25 nats are for means: 4.05 are left, which one decimal says as 4."""
    what = figures(model=model)
    assert headline(what)[:3] == [("1 of 3", "dimensions active"), ("1.8", mean), ("4", variance)]
    (row,) = traversal_table(what).rows
    assert row[:4] == ("1", "20°", "1.50", "2.00")
    point = figures(model=ModelConfig(latent="deterministic"))
    assert not any("nats" in label for _, label in headline(point))
    assert traversal_table(point).rows[0][:3] == ("1", "20°", "A")


def test_the_kl_of_dimensions_is_drawn_in_a_colour_for_what_they_are_and_in_two_parts() -> None:
    what, drawn = figures(), Figure()
    axes = drawn.subplots()
    unit_plots(what)[0].draw(axes)
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


def test_a_traversal_shows_the_dimensions_that_change_the_track_those_that_turn_most_first() -> None:
    """Dimensions 0 to 15, of which the even ones turn less than the odd ones; 3 and 4 never leave a track."""
    dimensions = np.arange(16)
    tracks = [["A"] * 5 if dimension in (3, 4) else ["A", "A", "A", "A", "B"] for dimension in dimensions]
    moved = Traversal(dimensions, tracks, np.where(dimensions % 2, 50.0, 30.0) + dimensions)
    what = figures(
        traversal=moved,
        use=LatentUse(np.ones(16), np.ones(16), np.ones(16)),
        kl_of_mean_Z=np.ones(16),
        model=ModelConfig(),
    )
    assert [int(row[0]) for row in traversal_table(what).rows] == [15, 13, 11, 9, 7, 5, 1, 14, 12, 10, 8, 6]
    said = "14 of 16 active dimensions change the nearest track by moving alone from -2 to +2 standard deviations"
    assert traversal_sentence(what) == f"{said}; 2 do not."
    dimensions_section = sections(what)[1]
    assert dimensions_section.text.endswith("; 2 do not.") and len(dimensions_section.tables) == 1


def test_a_traversal_that_changes_no_track_says_so_and_what_it_means() -> None:
    what = figures(traversal=Traversal(np.array([1]), [["A"] * 5], np.array([7.25])))
    section = sections(what)[1]
    assert not section.tables
    assert section.text.endswith(
        "No active dimension changes the nearest track when it moves alone from -2 to +2 standard deviations: none "
        "turns what is decoded by more than 7.2°. No single one has a meaning that tracks could name; if the latent "
        "chooses the music, it does so with several together."
    )
    assert traversal_sentence(figures(traversal=Traversal(NO_INDEX, [], NO_NUMBER))) == ""
    two = Traversal(np.array([1, 2]), [["A"] * 5, ["A", "B", "B", "B", "B"]], np.array([9.0, 9.0]))
    assert traversal_sentence(figures(traversal=two)).startswith("1 of 2 active dimensions changes the nearest track")
    assert traversal_sentence(figures(traversal=two)).endswith("; 1 does not.")


def test_neighbours_are_compared_by_the_means_over_the_users_shown() -> None:
    """ann's neighbours have less taste in common with her than all others have; with bob's the mean has more:
    (-.1 + .1 + .6 + .8) / 4 = .35, others (.2 + .3) / 2. Tracks: (.1 + .1 + .2 + .2) / 4 = 15 %, others 30 %."""
    ann, bob = neighbours((-0.1, 0.1), (0.1, 0.1), (0.2, 0.4)), neighbours((0.6, 0.2), (0.8, 0.2), (0.3, 0.2))
    what = figures(chosen=[Chosen("ann", 9, {}, {"both": ann}), Chosen("bob", 9, {}, {"both": bob})])
    assert neighbours_sentence(what) == (
        "Neighbours should have more taste and more tracks in common than others. By the whole state they have more "
        "taste only: over the 2 users shown, the tastes have a mean cosine of 0.35 (all others 0.25), and 15.0 % of "
        "the tracks are in common (all others 30.0 %). For a single user it need not be so."
    )


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        (neighbours((0.5, 0.2), (0.1, 0.1)), "By the slow features alone they have: over the 1 user shown"),
        (neighbours((0.1, 0.2), (0.1, 0.1)), "By the slow features alone they have more tracks only: "),
        (neighbours((0.1, 0.1), (0.5, 0.2)), "By the slow features alone they have not: "),
        (neighbours((float("nan"), 0.1), (0.5, 0.2)), ""),
        ([], ""),
    ],
)
def test_whether_it_holds_is_said_of_the_slow_side_too(slow: list[Neighbour], says: str) -> None:
    both = neighbours((0.5, 0.2), (0.1, 0.1))
    what = figures(chosen=[Chosen("ann", 9, {}, {"both": both, "slow": slow})], unknown=1)
    said = neighbours_sentence(what)
    assert "By the whole state they have: " in said and says in said
    assert ("By the slow features" in said) == bool(says)
    table = neighbour_tables(what)[1]
    assert table.note.endswith("left out: 1 of 10 users, of whom the slow side knows nothing")
    assert bool(slow) or table.rows == [("ann", "left out", "-", "-", "-")]
