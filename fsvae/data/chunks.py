"""Anchored chunks: histories cut for training and evaluation (DESIGN: the fast state has one definition).

The state before a user's n-th listen (n from 0) is the LSTM run from zero over the listens a(n) .. n - 1, with
a(n) = max(0, (n // L - 1) * L): at least L of the latest listens where there are that many, and fewer than 2 L. A chunk
is the 2 L listens from an anchor on; position j of it is predicted from its listens 0 .. j - 1.

Shape suffixes: B chunks, T positions, F listen features, R request features, S snapshots, D slow features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.data.dataset import Dataset
from fsvae.data.listens import Listens
from fsvae.features.fast import listen_features, request_features

if TYPE_CHECKING:
    from fsvae.memory.supports import Supports  # which itself reads datasets


class ChunkBatch(NamedTuple):
    """A batch of chunks as tensors, padded to the longest."""

    track_BT: Tensor
    """int64 track index: predicted at its position, and read by the state after it."""
    features_BTF: Tensor
    """`fast.LISTEN_FEATURES` of the listen at each position."""
    request_BTR: Tensor
    """`fast.REQUEST_FEATURES` of the request that the listen answers."""
    slow_SD: Tensor
    """Slow snapshots that occur in the batch."""
    slow_index_BT: Tensor
    """int64 row of slow_SD for each position."""
    target_BT: Tensor
    """bool: positions to predict."""
    listen_BT: Tensor
    """int64 flat position in the dataset."""
    memory: Supports | None = None
    """What the memory held before each target, in row-major order of target_BT; None for networks without one."""

    def of_targets(self, chosen_BT: Tensor) -> ChunkBatch:
        """Return the batch with only the chosen ones of its targets."""
        memory = None if self.memory is None else self.memory.at(chosen_BT[self.target_BT])
        return self._replace(target_BT=self.target_BT & chosen_BT, memory=memory)


@dataclass(frozen=True)
class Chunks:
    """The chunks of a dataset: their begins, lengths and targets."""

    start: NDArray[np.int64]
    """[C] flat position of the first listen."""
    length: NDArray[np.int64]
    """[C] number of listens, at most 2 L."""
    first_target: NDArray[np.int64]
    """[C] first position within the chunk that is a target; all later ones are targets too."""

    def __len__(self) -> int:
        return len(self.start)


def anchor(n: NDArray[np.int64], history: int) -> NDArray[np.int64]:
    """Return a(n), the listen at which the state before a user's n-th listen starts from zero."""
    return np.maximum(0, (n // history - 1) * history)


def training_chunks(listens: Listens, until_us: int, history: int) -> Chunks:
    """Cut all listens before a time at every anchor; each position of a chunk is a target.

    Each listen is a target twice: once with a short context, once with a long one.
    """
    sizes = _listens_before(listens, until_us)
    per_user = -(-sizes // history)
    user = np.repeat(np.arange(listens.n_users), per_user)
    begin = (np.arange(len(user)) - np.repeat(np.cumsum(per_user) - per_user, per_user)) * history
    length = np.minimum(2 * history, sizes[user] - begin)
    return Chunks(listens.offsets[user] + begin, length, np.zeros(len(user), dtype=np.int64))


def evaluation_chunks(listens: Listens, begin_us: int, end_us: int, history: int) -> Chunks:
    """Cut the histories so that every listen in [begin_us, end_us) is a target exactly once, from its own anchor."""
    first, last = _listens_before(listens, begin_us), _listens_before(listens, end_us)
    first_chunk = anchor(first, history) // history
    per_user = np.where(last > first, anchor(last - 1, history) // history - first_chunk + 1, 0)
    user = np.repeat(np.arange(listens.n_users), per_user)
    within = np.arange(len(user)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    begin = (first_chunk[user] + within) * history
    length = np.minimum(2 * history, last[user] - begin)
    first_target = np.maximum(first[user] - begin, np.where(begin > 0, history, 0))
    return Chunks(listens.offsets[user] + begin, length, first_target)


def _listens_before(listens: Listens, at_us: int) -> NDArray[np.int64]:
    before: NDArray[np.int64] = np.concatenate([[0], np.cumsum(listens.played_at < at_us)])
    return np.subtract(before[listens.offsets[1:]], before[listens.offsets[:-1]], dtype=np.int64)


class Batcher:
    """Gathers chunks of a dataset into batches."""

    def __init__(
        self, dataset: Dataset, chunks: Chunks, catalogue_targets_only: bool, memory: Supports | None = None
    ) -> None:
        """Take the dataset and its chunks.

        Args:
            dataset: the listens and snapshots.
            chunks: how they are cut.
            catalogue_targets_only: leave out targets without a vector (training needs one).
            memory: what the memory held before each listen of the dataset.
        """
        self.dataset = dataset
        self.chunks = chunks
        self._catalogue_targets_only = catalogue_targets_only
        self._memory = memory

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, rows: NDArray[np.int64]) -> ChunkBatch:
        listens, chunks = self.dataset.listens, self.chunks
        length = chunks.length[rows]
        within = np.arange(int(length.max()))
        inside = within < length[:, None]
        flat = chunks.start[rows][:, None] + np.where(inside, within, 0)
        target = inside & (within >= chunks.first_target[rows][:, None])
        track = listens.track[flat].astype(np.int64)
        if self._catalogue_targets_only:
            target &= track < self.dataset.n_catalogue
        previous = listens.previous_at[flat]
        played_at = listens.played_at[flat]
        snapshots, slow_index = np.unique(self.dataset.slow_row[flat], return_inverse=True)
        return ChunkBatch(
            track_BT=torch.from_numpy(track),
            features_BTF=torch.from_numpy(listen_features(played_at, previous, listens.played_fraction[flat])),
            request_BTR=torch.from_numpy(request_features(played_at, previous)),
            slow_SD=torch.from_numpy(self.dataset.snapshots.features(snapshots)),
            slow_index_BT=torch.from_numpy(slow_index.reshape(flat.shape)),
            target_BT=torch.from_numpy(target),
            listen_BT=torch.from_numpy(flat),
            memory=None if self._memory is None else self._memory.at(torch.from_numpy(flat[target])),
        )
