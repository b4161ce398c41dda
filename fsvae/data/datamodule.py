"""Lightning's view of a prepared dataset: training chunks, and validation positions in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from fsvae.data.batches import ShuffledBatches, ordered_batches
from fsvae.data.chunks import Batcher, ChunkBatch, evaluation_chunks, training_chunks
from fsvae.data.dataset import Dataset

if TYPE_CHECKING:
    from fsvae.memory.supports import Supports  # which itself reads datasets


class ChunkDataModule(pl.LightningDataModule):
    """Batches of anchored chunks; each item of the loaders is one `ChunkBatch`."""

    def __init__(
        self,
        dataset: Dataset,
        history: int,
        batch_listens: int,
        seed: int,
        num_workers: int = 0,
        memory: Supports | None = None,
    ) -> None:
        """Cut the dataset.

        Args:
            dataset: the dataset.
            history: the model's L.
            batch_listens: approximate number of listens of a batch.
            seed: seed of the order.
            num_workers: processes that gather batches.
            memory: what the memory held before each listen; with it, listens outside the catalogue are targets too.
        """
        super().__init__()
        self._batch_listens = batch_listens
        self._seed = seed
        self._num_workers = num_workers
        until = dataset.period("train")[1]
        training = training_chunks(dataset.listens, until, history)
        validation = evaluation_chunks(dataset.listens, *dataset.period("validation"), history)
        self.training, self.validation = (
            Batcher(dataset, chunks, catalogue_targets_only=memory is None, memory=memory)
            for chunks in (training, validation)
        )

    def train_dataloader(self) -> DataLoader[ChunkBatch]:
        """Return the shuffled training chunks."""
        batches = ShuffledBatches(self.training.chunks.length, self._batch_listens, self._seed)
        return self._loader(self.training, batches)

    def val_dataloader(self) -> DataLoader[ChunkBatch]:
        """Return the chunks whose targets are the validation positions, each once."""
        return self._loader(self.validation, ordered_batches(self.validation.chunks.length, 4 * self._batch_listens))

    def _loader(self, batcher: Batcher, batches: ShuffledBatches | list[NDArray[np.int64]]) -> DataLoader[ChunkBatch]:
        return DataLoader(
            batcher,  # type: ignore[arg-type]  # indexed by whole batches: batch_size=None
            sampler=batches,
            batch_size=None,
            num_workers=self._num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self._num_workers > 0,
        )
