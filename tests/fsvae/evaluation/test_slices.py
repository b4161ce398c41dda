"""Slices of the targets, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tiny_dataset import FIRST_DAY, HOUR_US, History, dataset_of, random_histories, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.evaluation.slices import slices
from fsvae.features.clock import DAY_US


def when(day: int, hours: float = 0) -> int:
    return (FIRST_DAY + day) * DAY_US + int(hours * HOUR_US)


def data() -> Dataset:
    """Training on days 0 and 1, test from day 3 on; tracks 0 .. 2 are the catalogue, 3 is outside."""
    histories: dict[str, History] = {
        # test positions 2, 3, 4: one training listen
        "light": [(0, when(0)), (1, when(2)), (0, when(3)), (2, when(3, 0.5)), (2, when(3, 1.01))],
        # 7, 8: two training listens, of one track
        "medium": [(3, when(0)), (3, when(1)), (3, when(3)), (1, when(4))],
        # 12: three training listens
        "heavy": [(0, when(0)), (1, when(0, 1)), (0, when(1)), (0, when(5))],
        # none in the test period, so it is not among the thirds
        "gone": [(0, when(0))] * 9,
        # 23, 24: the listen of validation is no training listen, but it is a past
        "cold": [(1, when(2)), (1, when(3)), (2, when(3, 0.1))],
        "colder": [(3, when(4))],  # 25
    }
    return dataset_of(histories, np.eye(3, dtype=np.float32), when(2), when(3), outside=1)


def names(dataset: Dataset, prefix: str = "") -> dict[str, list[int]]:
    """Slice → flat positions."""
    targets = dataset.targets("test")
    return {name: targets[mask].tolist() for name, mask in slices(dataset, targets).items() if name.endswith(prefix)}


def test_a_repeat_is_a_track_that_the_user_has_listened_to_before_in_any_period() -> None:
    found = names(data(), "track")
    assert found == {"repeat track": [2, 4, 7, 12, 23], "new track": [3, 8, 24, 25]}


def test_a_session_starts_after_more_than_half_an_hour() -> None:
    """The listen at 3 is exactly half an hour after the one before, and that at 4 a little more."""
    found = {name: rows for name, rows in names(data()).items() if "session" in name}
    assert found == {"session start": [2, 4, 7, 8, 12, 23, 25], "within session": [3, 24]}


def test_users_are_in_thirds_by_their_training_listens() -> None:
    assert names(data(), "users") == {
        "light users": [2, 3, 4],
        "medium users": [7, 8],
        "heavy users": [12],
        "cold users": [23, 24, 25],
    }


def test_users_with_equally_many_listens_are_in_the_same_third() -> None:
    histories: dict[str, History] = {
        f"u{count}{user}": [(0, when(0))] * count + [(0, when(3))] for count in (1, 2) for user in range(2)
    }
    found = names(dataset_of(histories, np.eye(1, dtype=np.float32), when(2), when(3)), "users")
    # of four users, the second is still in the first third and the third one in the second
    assert found == {"light users": [1, 3], "medium users": [6, 9], "heavy users": [], "cold users": []}


def test_tracks_are_in_thirds_of_the_training_listens() -> None:
    # training listens: track 0 has 12 of 13, track 1 has 1, track 2 none; track 3 is outside the catalogue
    assert names(data(), "tracks") == {"head tracks": [2, 12], "mid tracks": [], "tail tracks": [3, 4, 8, 23, 24]}


def test_equally_popular_tracks_are_in_the_same_third() -> None:
    """4 of 9 training listens are to track 0, 1 each to five others: more than a third lies before all five."""
    plays = [(0, when(0))] * 4 + [(track, when(1)) for track in range(1, 6)]
    listened = [(track, when(3)) for track in range(6)]
    found = names(dataset_of({"a": plays + listened}, unit_vectors(6, 2), when(2), when(3)), "tracks")
    assert found == {"head tracks": [9], "mid tracks": [10, 11, 12, 13, 14], "tail tracks": []}


def test_nobody_with_a_past_is_no_third() -> None:
    found = names(dataset_of({"a": [(0, when(3))]}, np.eye(1, dtype=np.float32), when(2), when(3)), "users")
    assert found == {"light users": [], "medium users": [], "heavy users": [], "cold users": [0]}


def test_every_target_is_in_one_slice_of_each_group_and_track_indices_do_not_matter() -> None:
    vectors = unit_vectors(8, 4)
    histories = random_histories([30, 3, 12, 1, 40, 17], 10, seed=1)
    times = np.sort([at for history in histories.values() for _, at, _ in history])
    cuts = int(times[60]), int(times[75])
    dataset = dataset_of(histories, vectors, *cuts, outside=2)
    targets = dataset.targets("test")
    found = slices(dataset, targets)
    groups = {
        "repeat track, new track": np.ones(len(targets)),
        "session start, within session": np.ones(len(targets)),
        "light users, medium users, heavy users, cold users": np.ones(len(targets)),
        "head tracks, mid tracks, tail tracks": dataset.listens.track[targets] < 8,
    }
    for group, expected in groups.items():
        assert np.array_equal(np.sum([found[name] for name in group.split(", ")], axis=0), expected), group
    assert found["all"].all() and {*found} == {"all", *(name for group in groups for name in group.split(", "))}
    order = np.random.default_rng(0).permutation(8)
    renamed = np.concatenate([order, [9, 8]]).astype(np.int32)
    moved = replace(dataset, listens=dataset.listens.with_tracks(renamed[dataset.listens.track]))
    for name, mask in slices(moved, targets).items():
        assert np.array_equal(mask, found[name]), name
