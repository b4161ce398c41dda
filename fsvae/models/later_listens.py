"""Later listens, with what the mixture is made of: for the last fits of a network, once the rest of it is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, ChunkBatch, Chunks, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.memory.shared import SharedTables
from fsvae.memory.supports import Remembered

MOST_TARGETS = 50_000
"""Approximate number of listens that are drawn, where there are more."""
_STREAM = 8  # of random numbers, so that the draw does not depend on others with the same seed


def later_listens(
    dataset: Dataset, remembered: Remembered, begin_us: int, end_us: int, history: int, seed: int
) -> Iterator[tuple[ChunkBatch, SharedTables]]:
    """Yield batches of the listens in [begin_us, end_us) and everybody's counts before them.

    Where there are many, some of their chunks are drawn: the same ones in every call.

    Args:
        dataset: the dataset.
        remembered: what the memory held before each listen, with everybody's counts from `begin_us` on.
        begin_us: time [us] from which on listens are taken.
        end_us: time [us] before which they are taken.
        history: L of the network.
        seed: seed of the draw.
    """
    share = min(1.0, MOST_TARGETS / max(len(dataset.listens.between(begin_us, end_us)), 1))
    rng = np.random.default_rng([seed, _STREAM])
    for begin, end, tables in remembered.segments(begin_us, end_us):
        chunks = evaluation_chunks(dataset.listens, begin, end, history)
        drawn = rng.random(len(chunks)) < share
        chunks = Chunks(chunks.start[drawn], chunks.length[drawn], chunks.first_target[drawn])
        batcher = Batcher(dataset, chunks, catalogue_targets_only=False, memory=remembered.supports)
        for batch in one_pass(batcher, tables.n_tracks) if len(chunks) else ():
            yield batch, tables
