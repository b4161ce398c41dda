"""What users like and what they have just heard."""

from __future__ import annotations

import numpy as np
from tiny_dataset import FIRST_DAY, HOUR_US, dataset_of

from fsvae.features.clock import DAY_US
from fsvae.latent.tastes import last_heard, slow_taste

X, Y = [1.0, 0.0], [0.0, 1.0]


def test_the_taste_is_of_earlier_days_and_the_last_track_is_the_users_own() -> None:
    """ann hears x, y and a track without a vector on the first day, x on the next one; bob hears y, first of all."""
    start = FIRST_DAY * DAY_US
    times = [start + hour * HOUR_US for hour in (1, 2, 3, 25)]
    data = dataset_of(
        {"ann": list(zip([0, 1, 2, 0], times, strict=True)), "bob": [(1, start)]},
        np.float32([X, Y]),
        train_until=0,
        validation_until=1,
        outside=1,
    )
    everything = np.arange(5)
    assert last_heard(data, everything).tolist() == [[0, 0], X, Y, [0, 0], [0, 0]]
    taste = slow_taste(data, everything)
    assert taste[:3].tolist() == [[0, 0]] * 3 and taste[3].tolist() == [0.5, 0.5] and taste[4].tolist() == [0, 0]
