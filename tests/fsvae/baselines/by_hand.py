"""Small logs for the baselines that score tracks, and what they make of scores that were worked out by hand."""

from __future__ import annotations

import numpy as np
from tiny_dataset import FIRST_DAY, SECOND_US, History, dataset_of

from fsvae.baselines.score_based import POPULARITY_SHARE
from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US

VECTORS = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
TRAIN_UNTIL = (FIRST_DAY + 2) * DAY_US
TEST = (FIRST_DAY + 5) * DAY_US


def minutes(*tracks: int, day: int) -> History:
    """Listens a minute apart."""
    return [(track, (FIRST_DAY + day) * DAY_US + 60 * SECOND_US * n) for n, track in enumerate(tracks)]


def dataset(**histories: History) -> Dataset:
    """The prepared dataset of some users: tracks 0, 1 and 2 are the catalogue, 3 and 4 have no vector."""
    return dataset_of(histories, VECTORS, TRAIN_UNTIL, TEST, outside=2)


def mixed(scores: list[float], popularity: list[float]) -> list[float]:
    """The scores as a distribution, with popularity's share."""
    total = sum(scores)
    pairs = zip(scores, popularity, strict=True)
    return [(1 - POPULARITY_SHARE) * score / total + POPULARITY_SHARE * popular for score, popular in pairs]
