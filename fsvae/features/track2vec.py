"""Track vectors from co-occurrence within sessions: skip-gram word2vec (paper, section 4.1) by gensim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig

_LONGEST = 10_000
"""Most tracks of a session that gensim reads (its MAX_SENTENCE_LEN); longer sessions are cut."""
_BATCH = 1_000
"""Number of sessions that are converted for gensim together."""

_WARM_LENGTH = 3.0
"""Approximate length of vectors at the end of a training; from it a warm start moves least (decisions.md)."""


def train_track_vectors(
    corpus: Iterable[NDArray[np.int32]],
    n_tracks: int,
    config: Track2VecConfig,
    seed: int,
    initial: NDArray[np.float32] | None = None,
    on_epoch: Callable[[], None] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Learn unit vectors for tracks 0 .. n_tracks - 1 from co-occurrence in the training period.

    One worker and gensim's seeded generator make the result bit-identical for the same input. The mean vector, which
    carries no information on single tracks, is subtracted (Mu and Viswanath, "All-but-the-top", ICLR 2018), and vectors
    are scaled to length 1, so that L2 and cosine distance order the tracks alike and frequent tracks are not nearer. A
    rotation (`fsvae.features.alignment`) keeps both.

    Memory: the vectors, and the part of `corpus` that is in memory at a time.

    Args:
        corpus: sessions or playlists, each an array of track indices below `n_tracks`; iterated once an epoch, and
            once before if `counts` is not given.
        n_tracks: size of the catalogue.
        config: hyper-parameters.
        seed: seed of the initial vectors and the sampling.
        initial: [n_tracks, dim] unit vectors to start from (those of the last training); a row of NaN starts anew.
        on_epoch: called after each epoch, for a progress bar.
        counts: [n_tracks] number of occurrences of each track in `corpus`.

    Returns:
        [n_tracks, dim] float32; a row of NaN for a track that does not occur in `corpus`.

    Raises:
        UserError: no catalogue track occurs in the corpus.
        ValueError: `initial` has another shape.
        Exception: whatever the iteration of `corpus` raises.
    """
    from gensim.models import Word2Vec

    if initial is not None and initial.shape != (n_tracks, config.dim):
        raise ValueError(f"initial: shape {initial.shape} is not {(n_tracks, config.dim)}")
    if counts is None:
        counts = _count(corpus, n_tracks)
    occurring = np.flatnonzero(counts)
    if len(occurring) == 0:
        raise UserError("The training period holds no track often enough to learn from: lower dataset.min_count.")

    model = Word2Vec(
        vector_size=config.dim,
        sg=1,
        min_count=1,
        sorted_vocab=0,  # keeps the row of each track as its number in gensim
        workers=1,
        seed=seed,
        window=config.window,
        negative=config.negative,
        ns_exponent=config.ns_exponent,
        sample=config.sample,
    )
    model.build_vocab_from_freq(dict(enumerate(counts[occurring].tolist())))
    if initial is not None:
        warm = ~np.isnan(initial[occurring]).any(axis=1)
        model.wv.vectors[warm] = _WARM_LENGTH * initial[occurring[warm]]
    words = _Words(corpus, occurring, n_tracks)
    model.train(words, total_words=int(counts.sum()), epochs=config.epochs, callbacks=[_EpochEnd(words, on_epoch)])

    learned = model.wv.vectors - model.wv.vectors.mean(axis=0)
    vectors = np.full((n_tracks, config.dim), np.nan, dtype=np.float32)
    vectors[occurring] = learned / np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), 1e-12)
    return vectors


def _count(corpus: Iterable[NDArray[np.int32]], n_tracks: int) -> NDArray[np.int64]:
    counts = np.zeros(n_tracks, dtype=np.int64)
    for batch in _batches(corpus):
        counts += np.bincount(np.concatenate(batch), minlength=n_tracks)
    return counts


def _batches(corpus: Iterable[NDArray[np.int32]]) -> Iterator[list[NDArray[np.int32]]]:
    """Yield some sessions at a time, as a numpy call costs as much as many listens."""
    iterator = iter(corpus)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


class _Words:
    """A corpus as gensim reads it: a list of rows of occurring tracks for each session, anew for every epoch."""

    def __init__(self, corpus: Iterable[NDArray[np.int32]], occurring: NDArray[np.int64], n_tracks: int) -> None:
        self._sentences = corpus
        self._row = np.full(n_tracks, -1, dtype=np.int64)  # gensim skips rows of -1
        self._row[occurring] = np.arange(len(occurring))
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[list[int]]:
        try:
            for batch in _batches(self._sentences):
                rows = self._row[np.concatenate(batch)].tolist()
                for begin, end in pairwise(accumulate(map(len, batch), initial=0)):
                    for start in range(begin, end, _LONGEST):
                        yield rows[start : min(start + _LONGEST, end)]
        except Exception as error:  # gensim reads in a thread, and waits for ever if that dies
            self.error = error


class _EpochEnd:
    """gensim's callbacks, which it finds by their names."""

    def __init__(self, words: _Words, on_epoch: Callable[[], None] | None) -> None:
        self._words = words
        self._on_epoch = on_epoch

    def on_epoch_end(self, model: object) -> None:
        if self._words.error is not None:
            raise self._words.error
        if self._on_epoch is not None:
            self._on_epoch()

    def on_epoch_begin(self, model: object) -> None:
        """Nothing to do."""

    on_train_begin = on_train_end = on_epoch_begin
