"""The first losses of the paper's model and of the default one, without and with its repeat head, are these numbers.

A refactor must not move them; who changes what is trained changes them here."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from tiny_dataset import FIRST_DAY, dataset_of, random_histories, unit_vectors

from fsvae.data.datamodule import ChunkDataModule
from fsvae.features.clock import DAY_US
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.module import TrainingModule
from fsvae.models.train_config import OptimiserConfig
from pipelines.config.compose import load_config

FOREVER = 2**62
GOLDEN = {
    "model=paper": [-53.236511, -59.024231, -60.781155, -62.524582, -62.474957],
    "model=default": [13.786304, 13.368629, 7.792435, 7.656303, 6.14806],
    "model.repeat_head=false": [18.357449, 8.893646, 3.372032, 3.523262, 2.794594],
}


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, torch.Tensor], *_: object
    ) -> None:
        self.found.append(float(outputs["loss"]))


@pytest.mark.parametrize("override", list(GOLDEN))
def test_the_first_losses_are_the_known_ones(override: str) -> None:
    """Ten users, 20 tracks of 80 dimensions, 5 steps of about 128 listens."""
    histories = random_histories([10 + 30 * user for user in range(10)], 22, seed=1)
    data = dataset_of(histories, unit_vectors(20, 80), FIRST_DAY * DAY_US + 60 * DAY_US, FOREVER, outside=2)
    config = load_config([override, "model.history=32"]).model
    torch.manual_seed(1)
    module = TrainingModule(FSVAENetwork.for_dataset(data, config), OptimiserConfig(), seed=1)
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=5,
        limit_val_batches=0,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, ChunkDataModule(data, config.history, 128, seed=1))
    # sums differ a little with the number of threads
    assert losses.found == pytest.approx(GOLDEN[override], rel=1e-4, abs=1e-4)
