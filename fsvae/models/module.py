"""The Lightning module that trains FS-VAE and the neural baselines alike."""

from __future__ import annotations

import math
import time

import pytorch_lightning as pl
import torch
from torch import Tensor

from fsvae.data.chunks import ChunkBatch
from fsvae.models.base import Network
from fsvae.models.train_config import OptimiserConfig


class TrainingModule(pl.LightningModule):
    """A Lightning module that trains a `Network` on every target of anchored chunks."""

    def __init__(self, model: Network, optimiser: OptimiserConfig, seed: int) -> None:
        """Wrap a network; `seed` and the epoch alone determine an epoch's noise, so that a resumed run is the same."""
        super().__init__()
        self.model = model
        self.optimiser_config = optimiser
        self.seed = seed
        self._epoch_targets = 0
        self._epoch_sums: dict[str, Tensor] = {}
        self._epoch_began = 0.0

    def epochs_done(self) -> float:
        """Return the number of epochs trained so far, with the fraction of the present one."""
        steps_an_epoch = self.trainer.estimated_stepping_batches / max(self.trainer.max_epochs or 1, 1)
        return self.global_step / steps_an_epoch

    def on_train_epoch_start(self) -> None:
        """Start measuring the epoch's losses and throughput."""
        self._epoch_targets = 0
        self._epoch_sums = {}
        self._epoch_began = time.perf_counter()

    def on_train_batch_start(self, batch: ChunkBatch, batch_idx: int) -> None:
        """Seed the epoch's noise, after the creation of the loader's iterator, which also draws a number.

        In the first epoch of a resumed run, Lightning makes that iterator before the epoch's start.
        """
        if batch_idx == 0:
            torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: ChunkBatch, batch_idx: int) -> Tensor:
        """Return the network's loss, the mean over the batch's targets [nats]."""
        terms = self.model.loss(batch, self.epochs_done())
        targets = int(batch.target_BT.sum())
        self._epoch_targets += targets
        for name, value in terms.items():
            self._epoch_sums[name] = self._epoch_sums.get(name, 0) + value.detach() * targets
        if batch_idx % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/step_loss", terms["loss"], prog_bar=True, batch_size=max(targets, 1))
        return terms["loss"]

    def epoch_means(self) -> dict[str, float]:
        """Return the loss terms of the epoch so far, means over its targets [nats].

        They are summed here, as a call of `self.log` for each of them in every step took 8 % of the time.
        """
        return {f"train/{name}": float(total) / max(self._epoch_targets, 1) for name, total in self._epoch_sums.items()}

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean losses and its throughput, validation included."""
        seconds = time.perf_counter() - self._epoch_began
        self.log_dict(self.epoch_means() | {"train/targets_per_second": self._epoch_targets / seconds})

    def validation_step(self, batch: ChunkBatch, batch_idx: int) -> None:
        """Log the network's distances and loss terms at the validation positions."""
        if not batch.target_BT.any():
            return
        for name, figure_N in self.model.validate(batch).items():
            if len(figure_N):
                self.log(f"val/{name}", figure_N.mean(), prog_bar=name == "l2", batch_size=len(figure_N))

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        """Return AdamW and its schedule, which is updated every step."""
        config = self.optimiser_config
        optimiser = torch.optim.AdamW(
            self.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused="mixed" not in str(self.trainer.precision),  # there Lightning does not clip gradients of a fused one
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warmup = max(1, int(config.warmup_share * steps))

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            done = min(1.0, (step - warmup) / max(1, steps - warmup))
            return config.final_share + (1 - config.final_share) * 0.5 * (1 + math.cos(math.pi * done))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
