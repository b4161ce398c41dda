"""Track vectors: repeatable to the bit, of length 1, and near for what is heard together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.track2vec import Track2VecConfig, train_track_vectors

CONFIG = Track2VecConfig(epochs=5, sample=0.0)


def two_moods(seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """300 sessions of 8 listens, each within tracks 0-5 or within tracks 6-11."""
    rng = np.random.default_rng(seed)
    moods = rng.integers(0, 2, size=(300, 1))
    return (6 * moods + rng.integers(0, 6, size=(300, 8))).reshape(-1).astype(np.int32), np.arange(0, 2400, 8)


def test_tracks_that_are_heard_together_are_nearer_than_others() -> None:
    vectors = train_track_vectors(*two_moods(), 12, CONFIG, seed=1)
    alike = vectors @ vectors.T
    together = np.kron(np.eye(2), np.ones((6, 6))).astype(bool) & ~np.eye(12, dtype=bool)
    apart = np.kron(1 - np.eye(2), np.ones((6, 6))).astype(bool)
    assert alike[together].min() > alike[apart].max() + 0.5


def test_a_session_is_a_border() -> None:
    """The same listens in one endless session put the two moods together."""
    track, starts = two_moods()
    parted = train_track_vectors(track, starts, 12, CONFIG, seed=1)
    endless = train_track_vectors(track, starts[:1], 12, CONFIG, seed=1)
    between = np.kron(1 - np.eye(2), np.ones((6, 6))).astype(bool)
    assert (parted @ parted.T)[between].mean() < (endless @ endless.T)[between].mean() - 0.01


def test_vectors_have_length_1_and_no_common_direction() -> None:
    vectors = train_track_vectors(*two_moods(), 12, CONFIG, seed=1)
    assert vectors.shape == (12, 80) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(vectors.mean(axis=0)) < 0.1


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first = train_track_vectors(*two_moods(), 12, CONFIG, seed=1)
    assert train_track_vectors(*two_moods(), 12, CONFIG, seed=1).tobytes() == first.tobytes()
    assert train_track_vectors(*two_moods(), 12, CONFIG, seed=2).tobytes() != first.tobytes()


def test_progress_is_told_once_an_epoch() -> None:
    told: list[int] = []
    train_track_vectors(*two_moods(), 12, CONFIG, seed=1, on_epoch=lambda: told.append(1))
    assert len(told) == 5


@pytest.mark.parametrize("tracks", [0, 3])
def test_nothing_to_learn_from_is_said_with_the_remedy(tracks: int) -> None:
    with pytest.raises(UserError, match=r"lower dataset\.min_count"):
        train_track_vectors(np.zeros(0, np.int32), np.zeros(0, np.int64), tracks, CONFIG, seed=1)
