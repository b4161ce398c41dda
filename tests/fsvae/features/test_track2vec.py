"""Track vectors: repeatable to the bit, of length 1, near for what is heard together, near to where they began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.corpus import Corpus
from fsvae.features.track2vec import train_track_vectors
from fsvae.features.track2vec_config import Track2VecConfig

CONFIG = Track2VecConfig(epochs=5, sample=0.0)
Array = NDArray[np.int32]


def two_moods(seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """300 sessions of 8 listens, each within tracks 0-5 or within tracks 6-11."""
    rng = np.random.default_rng(seed)
    moods = rng.integers(0, 2, size=(300, 1))
    return (6 * moods + rng.integers(0, 6, size=(300, 8))).reshape(-1).astype(np.int32), np.arange(0, 2400, 8)


SESSIONS = Corpus([two_moods()])


def test_tracks_that_are_heard_together_are_nearer_than_others() -> None:
    vectors = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    alike = vectors @ vectors.T
    together = np.kron(np.eye(2), np.ones((6, 6))).astype(bool) & ~np.eye(12, dtype=bool)
    apart = np.kron(1 - np.eye(2), np.ones((6, 6))).astype(bool)
    assert alike[together].min() > alike[apart].max() + 0.5


def test_a_session_is_a_border() -> None:
    """The same listens in one endless session put the two moods together."""
    track, starts = two_moods()
    parted = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    endless = train_track_vectors(Corpus([(track, starts[:1])]), 12, CONFIG, seed=1)
    between = np.kron(1 - np.eye(2), np.ones((6, 6))).astype(bool)
    assert (parted @ parted.T)[between].mean() < (endless @ endless.T)[between].mean() - 0.01


def test_vectors_have_length_1_and_no_common_direction() -> None:
    vectors = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    assert vectors.shape == (12, 80) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(vectors.mean(axis=0)) < 0.1


def test_a_space_has_the_dimensions_that_are_asked_for() -> None:
    vectors = train_track_vectors(SESSIONS, 12, replace(CONFIG, dim=3), seed=1)
    assert vectors.shape == (12, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    assert train_track_vectors(SESSIONS, 12, CONFIG, seed=1).tobytes() == first.tobytes()
    assert train_track_vectors(SESSIONS, 12, CONFIG, seed=2).tobytes() != first.tobytes()


def test_counts_that_are_given_save_a_reading_and_change_nothing() -> None:
    begun: list[int] = []

    class Counting:
        def __iter__(self) -> Iterator[Array]:
            begun.append(1)
            return iter(SESSIONS)

    counted = train_track_vectors(Counting(), 12, CONFIG, seed=1)
    assert len(begun) == 1 + CONFIG.epochs
    begun.clear()
    given = train_track_vectors(Counting(), 12, CONFIG, seed=1, counts=np.bincount(two_moods()[0]))
    assert len(begun) == CONFIG.epochs and given.tobytes() == counted.tobytes()


def test_a_track_that_is_in_no_sentence_has_no_vector_and_moves_no_other() -> None:
    track, starts = two_moods()
    spread = Corpus([(2 * track + 1, starts)])
    vectors = train_track_vectors(spread, 25, CONFIG, seed=1)
    assert np.isnan(vectors[::2]).all()
    np.testing.assert_array_equal(vectors[1::2], train_track_vectors(SESSIONS, 12, CONFIG, seed=1))


def test_what_is_beyond_the_longest_sentence_that_gensim_reads_counts() -> None:
    """One playlist of 10 000 times track 0, then the two moods: read whole, only track 0 would be learned."""
    track, starts = two_moods()
    long = Corpus([(np.concatenate([np.zeros(10_000, np.int32), track + 1]), np.zeros(1, np.int64))])
    parted = Corpus([(np.zeros(10_000, np.int32), starts[:1]), (track + 1, starts[:1])])
    got, expected = (train_track_vectors(corpus, 13, CONFIG, seed=1) for corpus in (long, parted))
    assert got.tobytes() == expected.tobytes()


def test_a_warm_start_keeps_a_converged_space_near_and_a_cold_start_does_not() -> None:
    old = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    newer = Corpus([two_moods(seed=5)])
    warm = train_track_vectors(newer, 12, CONFIG, seed=2, initial=old)
    cold = train_track_vectors(newer, 12, CONFIG, seed=2)
    assert (warm * old).sum(axis=1).min() > 0.9
    assert np.abs((cold * old).sum(axis=1)).max() < 0.5


def test_a_row_of_nan_starts_anew() -> None:
    none = np.full((12, 80), np.nan, dtype=np.float32)
    cold = train_track_vectors(SESSIONS, 12, CONFIG, seed=1)
    assert train_track_vectors(SESSIONS, 12, CONFIG, seed=1, initial=none).tobytes() == cold.tobytes()
    some = none.copy()
    some[:6] = np.eye(80, dtype=np.float32)[:6]
    vectors = train_track_vectors(SESSIONS, 12, CONFIG, seed=1, initial=some)
    assert np.isfinite(vectors).all() and vectors.tobytes() != cold.tobytes()


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(11, 80\) is not \(12, 80\)"):
        train_track_vectors(SESSIONS, 12, CONFIG, seed=1, initial=np.zeros((11, 80), np.float32))


def test_progress_is_told_once_an_epoch() -> None:
    told: list[int] = []
    train_track_vectors(SESSIONS, 12, CONFIG, seed=1, on_epoch=lambda: told.append(1))
    assert len(told) == 5


def test_what_goes_wrong_while_reading_is_raised_and_not_waited_for() -> None:
    def broken() -> Iterator[Array]:
        yield np.array([0, 1], dtype=np.int32)
        raise OSError("the disk is gone")

    class Broken:
        def __iter__(self) -> Iterator[Array]:
            return broken()

    with pytest.raises(OSError, match="the disk is gone"):
        train_track_vectors(Broken(), 2, CONFIG, seed=1, counts=np.ones(2, dtype=np.int64))


@pytest.mark.parametrize("tracks", [0, 3])
def test_nothing_to_learn_from_is_said_with_the_remedy(tracks: int) -> None:
    with pytest.raises(UserError, match=r"lower dataset\.min_count"):
        train_track_vectors(Corpus([]), tracks, CONFIG, seed=1)
