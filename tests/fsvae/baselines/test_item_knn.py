"""item-kNN, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import TEST, VECTORS, dataset, minutes, mixed

from fsvae.baselines import ItemKNN
from fsvae.baselines.settings import ItemKNNConfig
from fsvae.errors import UserError

# Three sessions of training: {0, 1}, {0, 2}, {0}. Heard in 3, 1 and 1 of them: cos(0, 1) = cos(0, 2) = 1 / √3,
# cos(1, 2) = 0. Two users: {0, 1, 2} and {0}: cos(0, 1) = cos(0, 2) = 1 / √2, cos(1, 2) = 1.
HISTORIES = {
    "a": [*minutes(0, 1, 0, 3, day=0), *minutes(2, 0, day=1), *minutes(1, 2, day=5)],
    "b": [*minutes(0, day=0), *minutes(3, 1, day=6)],
    "new": minutes(1, day=6),
}
POPULARITY = [4 / 6, 1 / 6, 1 / 6]


def scores(config: ItemKNNConfig) -> list[list[float]]:
    model, data = ItemKNN(config), dataset(**HISTORIES)
    model.fit(data)
    [part] = list(model.predict(data, TEST, np.iinfo(np.int64).max))
    assert part.scores is not None and part.targets.tolist() == [6, 7, 9, 10, 11]
    np.testing.assert_allclose(part.vectors, part.scores @ VECTORS, atol=1e-6)
    return [list(row) for row in part.scores]


def test_tracks_score_by_their_cosine_to_recent_listens() -> None:
    found = scores(ItemKNNConfig(half_life=1.0))
    root = 1 / np.sqrt(3)
    # a heard, latest first: 0 (1), 2 (1/2), 3 (no vector), 0 (1/8), 1 (1/16), 0 (1/32): in all 0: 37/32
    first = [37 / 32 + (9 / 16) * root, 1 / 16 + 37 / 32 * root, 1 / 2 + 37 / 32 * root]
    assert found[0] == pytest.approx(mixed(first, POPULARITY), abs=1e-6)
    # then 1 too, and all else half: 0: 37/64, 2: 1/4, 1: 1 + 1/32
    second = [37 / 64 + (1 / 4 + 33 / 32) * root, 33 / 32 + 37 / 64 * root, 1 / 4 + 37 / 64 * root]
    assert found[1] == pytest.approx(mixed(second, POPULARITY), abs=1e-6)
    # b heard 0; the track without a vector that follows only makes it older
    assert found[2] == pytest.approx(mixed([1, root, root], POPULARITY), abs=1e-6)
    assert found[3] == pytest.approx(mixed([1, root, root], POPULARITY), abs=1e-6)
    assert found[4] == pytest.approx(POPULARITY, abs=1e-6)


def test_only_the_nearest_neighbours_are_kept_a_track_itself_first() -> None:
    found = scores(ItemKNNConfig(half_life=1.0, neighbours=1))
    assert found[2] == pytest.approx(mixed([1, 0, 0], POPULARITY), abs=1e-6)
    found = scores(ItemKNNConfig(half_life=1.0, neighbours=2))  # 1 and 2 tie; 1 is heard no less often
    assert found[2] == pytest.approx(mixed([1, 1 / np.sqrt(3), 0], POPULARITY), abs=1e-6)


def test_tracks_of_one_user_can_count_as_together() -> None:
    found = scores(ItemKNNConfig(together="user"))
    assert found[2] == pytest.approx(mixed([1, 1 / np.sqrt(2), 1 / np.sqrt(2)], POPULARITY), abs=1e-6)


def test_an_unknown_kind_of_togetherness_is_named() -> None:
    with pytest.raises(UserError, match=r"item_knn\.together=playlist is not one of session, user"):
        ItemKNN(ItemKNNConfig(together="playlist"))
