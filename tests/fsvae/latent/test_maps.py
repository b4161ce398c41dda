"""Axes, clusters and neighbours of states that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fsvae.latent.maps import NO_TASTE, Space, agreement, neighbours, taste_clusters
from fsvae.latent.states import States


def states_of(mean: list[list[float]]) -> States:
    mean_NZ = np.array(mean, dtype=np.float32)
    none = np.zeros_like(mean_NZ)
    return States(np.arange(len(mean_NZ)), mean_NZ, none, none, none)


def test_principal_axes_of_four_points() -> None:
    """Around (1, 0, 5): two points 3 along (.6, .8, 0) either way, two points 1 along (0, 0, 1).

    The variances of the coordinates along the axes are 2 * 9 / 4 and 2 * 1 / 4, so the axes hold 90 % and 10 %.
    """
    space = Space.of(states_of([[2.8, 2.4, 5], [-0.8, -2.4, 5], [1, 0, 6], [1, 0, 4]]))
    np.testing.assert_allclose(space.centre_Z, [1, 0, 5], atol=1e-6)
    np.testing.assert_allclose(space.axes_2Z, [[0.6, 0.8, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(space.explained_2, [0.9, 0.1], atol=1e-6)
    np.testing.assert_allclose(space.project(np.float32([[1, 0, 5], [1.6, 0.8, 7]])), [[0, 0], [1, 2]], atol=1e-6)


def test_the_unit_is_the_distance_of_two_random_states() -> None:
    """Half of all pairs of states drawn from {0, 2} are 2 apart: the root mean square is sqrt(2)."""
    assert Space.of(states_of([[0.0], [2.0]])).unit == pytest.approx(np.sqrt(2))


def test_states_that_are_all_the_same_have_a_space_too() -> None:
    space = Space.of(states_of([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))
    assert space.unit == 1.0 and not space.explained_2.any()


def test_clusters_are_of_directions_and_the_largest_is_first() -> None:
    """Three tastes along y, of any length, two along x, and a user of whom nothing is known."""
    found = taste_clusters(np.float32([[1, 0], [0, 2], [0, 0], [0, 9], [5, 0], [0, 1]]), most=2, seed=1)
    assert found.label_N.tolist() == [1, 0, NO_TASTE, 0, 1, 0]
    np.testing.assert_allclose(found.centres_CD, [[0, 1], [1, 0]], atol=1e-6)


def test_there_are_no_more_clusters_than_tastes() -> None:
    assert taste_clusters(np.float32([[1, 0], [2, 0]]), most=8, seed=1).label_N.tolist() == [0, 0]
    nothing = taste_clusters(np.zeros((3, 2), dtype=np.float32), most=8, seed=1)
    assert nothing.label_N.tolist() == [NO_TASTE] * 3 and nothing.centres_CD.shape == (0, 2)


def test_neighbours_are_of_other_users_and_nearest_first() -> None:
    """On a line: ann at 0 and 1, bob at 2, cat at 5. ann's own other state is never a neighbour."""
    near = neighbours(np.float32([[0], [1], [2], [5]]), np.array([0, 0, 1, 2]), 2)
    assert near.tolist() == [[2, 3], [2, 3], [1, 0], [2, 1]]
    assert neighbours(np.float32([[0], [1], [2]]), np.array([0, 1, 2]), 9).tolist() == [[1, 2], [0, 2], [1, 0]]


def test_neighbours_agree_more_than_chance_where_what_is_alike_is_near() -> None:
    """Four users, two and two alike. The one nearest neighbour is alike for three of the four states; of the 12
    ordered pairs 4 are alike."""
    label = np.array([0, 0, 1, 1])
    alike = label[:, None] == label[None, :]
    near, chance = agreement(alike, np.arange(4), np.array([[1], [0], [3], [1]]))
    assert (near, chance) == (3 / 4, pytest.approx(4 / 12))
