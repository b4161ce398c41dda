"""item-kNN, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import TEST, VECTORS, dataset, minutes, mixed
from tiny_dataset import History

from fsvae.baselines import ItemKNN
from fsvae.baselines.settings import ItemKNNConfig
from fsvae.errors import UserError

# Three sessions of training: {0, 1, 3}, {0, 2}, {0}. Heard in 3, 1, 1 and 1 of them: cos(0, any) = 1 / √3,
# cos(1, 2) = cos(2, 3) = 0, cos(1, 3) = 1. Two users: {0, 1, 2, 3} and {0}: cos(0, any) = 1 / √2, else 1.
HISTORIES: dict[str, History] = {
    "a": [*minutes(0, 1, 0, 3, day=0), *minutes(2, 0, day=1), *minutes(1, 2, day=5)],
    "b": [*minutes(0, day=0), *minutes(3, 1, day=6)],
    "new": minutes(1, day=6),
}
POPULARITY = [4 / 7, 1 / 7, 1 / 7, 1 / 7, 0]


def scores(config: ItemKNNConfig, **more: History) -> list[list[float]]:
    model, data = ItemKNN(config), dataset(**HISTORIES | more)
    model.fit(data, refit=False)
    [part] = list(model.predict(data, TEST, np.iinfo(np.int64).max))
    assert part.scores is not None and part.targets.tolist()[:5] == [6, 7, 9, 10, 11]
    np.testing.assert_allclose(part.vectors, part.scores[:, :3] @ VECTORS, atol=1e-6)
    return [list(row) for row in part.scores]


def test_tracks_score_by_their_cosine_to_recent_listens() -> None:
    found = scores(ItemKNNConfig(half_life=1.0))
    root = 1 / np.sqrt(3)
    # a heard, latest first: 0 (1), 2 (1/2), 3 (1/4), 0 (1/8), 1 (1/16), 0 (1/32): in all 0: 37/32
    own = 37 / 32
    first = [own + 13 / 16 * root, 5 / 16 + own * root, 1 / 2 + own * root, 5 / 16 + own * root, 0]
    assert found[0] == pytest.approx(mixed(first, POPULARITY), abs=1e-6)
    # then 1 too, and all else half: 0: 37/64, 2: 1/4, 3: 1/8, 1: 1 + 1/32
    own = 37 / 64
    second = [own + 45 / 32 * root, 37 / 32 + own * root, 1 / 4 + own * root, 37 / 32 + own * root, 0]
    assert found[1] == pytest.approx(mixed(second, POPULARITY), abs=1e-6)
    # b heard 0, then 3, which has no vector
    assert found[2] == pytest.approx(mixed([1, root, root, root, 0], POPULARITY), abs=1e-6)
    assert found[3] == pytest.approx(
        mixed([1 / 2 + root, 1 + root / 2, root / 2, 1 + root / 2, 0], POPULARITY), abs=1e-6
    )
    assert found[4] == pytest.approx(POPULARITY, abs=1e-6)


def test_only_the_nearest_neighbours_are_kept_a_track_itself_first() -> None:
    found = scores(ItemKNNConfig(half_life=1.0, neighbours=1))
    assert found[2] == pytest.approx(mixed([1, 0, 0, 0, 0], POPULARITY), abs=1e-6)
    found = scores(ItemKNNConfig(half_life=1.0, neighbours=2))  # 1, 2 and 3 tie; 1 is heard no less often
    assert found[2] == pytest.approx(mixed([1, 1 / np.sqrt(3), 0, 0, 0], POPULARITY), abs=1e-6)


def test_tracks_of_one_user_can_count_as_together() -> None:
    found = scores(ItemKNNConfig(together="user"))
    assert found[2] == pytest.approx(mixed([1, *[1 / np.sqrt(2)] * 3, 0], POPULARITY), abs=1e-6)


def test_a_track_that_is_new_since_training_is_its_own_neighbour() -> None:
    assert scores(ItemKNNConfig(), late=minutes(4, 0, day=6))[-1] == pytest.approx(mixed([0, 0, 0, 0, 1], POPULARITY))


def test_an_unknown_kind_of_togetherness_is_named() -> None:
    with pytest.raises(UserError, match=r"item_knn\.together=playlist is not one of session, user"):
        ItemKNN(ItemKNNConfig(together="playlist"))
