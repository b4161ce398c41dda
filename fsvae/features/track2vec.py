"""Track vectors from co-occurrence within sessions: skip-gram word2vec (paper, section 4.1) by gensim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.schema import TRACK_DIM


@dataclass
class Track2VecConfig:
    """How the track space is learned."""

    epochs: int = 20
    """Passes over the training sessions."""
    window: int = 5
    """Neighbours on each side of a listen that count as its context."""
    negative: int = 10
    """Negative samples per pair."""
    ns_exponent: float = 0.75
    """Popularity exponent of the negatives; 0 is uniform, 1 is by listens."""
    sample: float = 0.001
    """Listens of tracks more frequent than this share are thinned out."""


class _Sessions:
    """Sessions as lists of words, restartable, as gensim wants them."""

    def __init__(self, track: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        self._words = [str(index) for index in track.tolist()]
        self._bounds = [*starts.tolist(), len(self._words)]

    def __iter__(self) -> Iterator[list[str]]:
        for begin, end in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            yield self._words[begin:end]


def train_track_vectors(
    track: NDArray[np.int32],
    session_starts: NDArray[np.int64],
    n_tracks: int,
    config: Track2VecConfig,
    seed: int,
    on_epoch: Callable[[], None] | None = None,
) -> NDArray[np.float32]:
    """Learn unit vectors for tracks 0 .. n_tracks - 1 from the sessions of the training period.

    One worker and a fixed hash make the result bit-identical for the same input. The mean vector, which all tracks
    share and which tells nothing, is taken away (Mu and Viswanath, "All-but-the-top", ICLR 2018), and vectors are
    scaled to length 1, so that L2 and cosine distance order the tracks alike and no track is near for being frequent.

    Args:
        track: [N] track indices of the training listens, session after session; all of them below `n_tracks`.
        session_starts: [S] where each session begins in `track`.
        n_tracks: size of the catalogue.
        config: hyper-parameters.
        seed: of the initial vectors and the sampling.
        on_epoch: called after each epoch, for a progress bar.

    Returns:
        [n_tracks, 80] float32.

    Raises:
        UserError: no catalogue track occurs in the sessions.
    """
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    if n_tracks == 0 or len(track) == 0:
        raise UserError("The training period holds no track often enough to learn from: lower dataset.min_count.")

    class Progress(CallbackAny2Vec):  # type: ignore[misc]
        def on_epoch_end(self, model: object) -> None:
            if on_epoch is not None:
                on_epoch()

    model = Word2Vec(
        sentences=_Sessions(track, session_starts),
        vector_size=TRACK_DIM,
        sg=1,
        min_count=1,
        workers=1,
        seed=seed,
        hashfxn=lambda word: xxhash.xxh32_intdigest(word.encode()),
        epochs=config.epochs,
        window=config.window,
        negative=config.negative,
        ns_exponent=config.ns_exponent,
        sample=config.sample,
        callbacks=[Progress()],
    )
    vectors = np.zeros((n_tracks, TRACK_DIM), dtype=np.float32)
    for index in range(n_tracks):
        vectors[index] = model.wv[str(index)]
    vectors -= vectors.mean(axis=0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
