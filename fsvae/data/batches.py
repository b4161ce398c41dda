"""Batches of chunks with similar numbers of listens: shuffled for training, in one pass otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fsvae.data.chunks import Batcher, ChunkBatch

_LISTENS_AT_ONCE = 1 << 13
_SCORES_AT_ONCE = 1 << 25  # 128 MiB of float32


class ShuffledBatches:
    """Batches with similar numbers of listens and chunks of like length; the order depends on (seed, epoch) alone."""

    _POOL = 50

    def __init__(self, length: NDArray[np.int64], batch_listens: int, seed: int) -> None:
        """Take the chunk lengths [C] and the least listens of a batch (a small log has a single, smaller one)."""
        self._length = length
        self._batches = _batches_of(length, batch_listens)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order is drawn; Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        order = rng.permutation(len(self._length))
        # sorting within pools saves padding and keeps batches mixed
        pool = _part(self._length[order], max(1, self._batches // self._POOL))
        by_length = order[np.lexsort((self._length[order], pool))]
        batches = _split(by_length, self._length, self._batches)
        for batch in rng.permutation(len(batches)):
            yield batches[batch]


def ordered_batches(length: NDArray[np.int64], batch_listens: int) -> list[NDArray[np.int64]]:
    """Return batches of chunk rows with similar numbers of listens, long chunks first; every chunk once.

    Args:
        length: [C] listens of each chunk.
        batch_listens: number of listens of a batch; more where a single chunk has more.
    """
    order = np.argsort(-length, kind="stable")
    return _split(order, length, _batches_of(length, batch_listens))


def _batches_of(length: NDArray[np.int64], batch_listens: int) -> int:
    """Return the number of batches with at least `batch_listens` each, and at least those of the longest chunk."""
    return max(1, int(length.sum()) // max(batch_listens, int(length.max(initial=1)))) if len(length) else 0


def _part(length: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Return the part of each chunk, in order, where all parts have similar numbers of listens.

    No part is empty while none would have fewer listens than the longest chunk.
    """
    total = np.cumsum(length)
    return np.asarray((total - length) * parts // max(1, int(length.sum())))


def _split(rows: NDArray[np.int64], length: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Return the rows of each part."""
    return np.split(rows, np.flatnonzero(np.diff(_part(length[rows], parts))) + 1) if parts else []


def one_pass(batcher: Batcher, n_scored: int = 0) -> Iterator[ChunkBatch]:
    """Yield batches with every target once.

    Args:
        batcher: the chunks.
        n_scored: number of tracks scored for each target; batches are kept small so that scores fit in 128 MiB.
    """
    most = _SCORES_AT_ONCE // n_scored if n_scored else np.iinfo(np.int64).max
    for rows in ordered_batches(batcher.chunks.length, max(1, min(_LISTENS_AT_ONCE, most))):
        yield from _some_targets(batcher[rows], max(1, most))


def _some_targets(batch: ChunkBatch, most: int) -> Iterator[ChunkBatch]:
    """Yield the same batch repeatedly, each time with the next targets, at most `most`."""
    targets = int(batch.target_BT.sum())
    if targets <= most:
        yield batch
        return
    order_BT = batch.target_BT.flatten().cumsum(0).view_as(batch.target_BT) - 1
    for first in range(0, targets, most):
        yield batch.of_targets((order_BT >= first) & (order_BT < first + most))
