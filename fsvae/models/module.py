"""How FS-VAE is trained: the Lightning module."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fsvae.data.chunks import ChunkBatch
from fsvae.models.fsvae import FSVAE
from fsvae.models.losses import kl_loss, kl_per_dimension


@dataclass
class OptimiserConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    warmup_share: float = 0.05
    """Share of all steps over which the learning rate rises."""
    final_share: float = 0.05
    """Share of the peak learning rate that is left at the end."""


class FSVAEModule(pl.LightningModule):
    """Trains an `FSVAE` on every target of anchored chunks."""

    def __init__(self, model: FSVAE, optimiser: OptimiserConfig, seed: int) -> None:
        """Wrap a model; `seed` and the epoch alone decide the noise of an epoch, so that a resumed run is the same."""
        super().__init__()
        self.model = model
        self.optimiser_config = optimiser
        self.seed = seed
        self._epoch_targets = 0
        self._epoch_sums: dict[str, Tensor] = {}
        self._epoch_began = 0.0

    def beta(self) -> float:
        """Return the weight of the KL term now: it rises over the first epochs."""
        config = self.model.config
        if config.beta_warmup_epochs <= 0:
            return config.beta
        steps_an_epoch = self.trainer.estimated_stepping_batches / max(self.trainer.max_epochs or 1, 1)
        return config.beta * min(1.0, self.global_step / (config.beta_warmup_epochs * steps_an_epoch))

    def on_train_epoch_start(self) -> None:
        """Begin to measure the epoch's losses and throughput."""
        self._epoch_targets = 0
        self._epoch_sums = {}
        self._epoch_began = time.perf_counter()

    def on_train_batch_start(self, batch: ChunkBatch, batch_idx: int) -> None:
        """Seed the epoch's noise: behind the making of the loader's iterator, which draws a number of its own.

        In an epoch that a resumed run begins with, Lightning makes that iterator before the epoch's start.
        """
        if batch_idx == 0:
            torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: ChunkBatch, batch_idx: int) -> Tensor:
        """Return -log p(y | z) + beta * KL, the mean over the batch's targets [nats]."""
        prediction = self.model(batch, sample=True)
        target_N = batch.track_BT[batch.target_BT]
        y_ND = self.model.tracks[target_N]
        targets = max(len(y_ND), 1)
        nll = self.model.likelihood(prediction.y_ND, y_ND).sum() / targets
        kl = kl_loss(kl_per_dimension(prediction.posterior), self.model.config.free_bits) if len(y_ND) else nll * 0
        beta = self.beta()
        loss: Tensor = nll + beta * kl
        terms = {"train/nll": nll, "train/kl": kl}
        if self.model.softmax is not None:
            softmax = self.model.softmax(prediction.query_ND, target_N, self.model.catalogue).sum() / targets
            loss = loss + self.model.config.softmax_weight * softmax
            terms["train/softmax"] = softmax
        self._epoch_targets += len(y_ND)
        for name, value in (terms | {"train/loss": loss}).items():
            self._epoch_sums[name] = self._epoch_sums.get(name, 0) + value.detach() * len(y_ND)
        if batch_idx % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log_dict({"train/step_loss": loss, "train/beta": beta}, prog_bar=True, batch_size=targets)
        return loss

    def epoch_means(self) -> dict[str, float]:
        """Return the loss terms of the epoch so far, means over its targets [nats].

        They are summed here: a call of `self.log` for each of them in every step took 8 % of the time.
        """
        return {name: float(total) / max(self._epoch_targets, 1) for name, total in self._epoch_sums.items()}

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean losses and its throughput, validation included."""
        seconds = time.perf_counter() - self._epoch_began
        self.log_dict(self.epoch_means() | {"train/targets_per_second": self._epoch_targets / seconds})

    def validation_step(self, batch: ChunkBatch, batch_idx: int) -> None:
        """Log distances and loss terms at the validation positions; z is the posterior's mean."""
        y_ND = self.model.tracks[batch.track_BT[batch.target_BT]]
        if len(y_ND) == 0:
            return
        prediction = self.model(batch)
        values = {
            "val/l2": (prediction.y_ND - y_ND).norm(dim=-1).mean(),
            "val/cosine": (1 - cosine_similarity(prediction.y_ND, y_ND, dim=-1)).mean(),
            "val/nll": self.model.likelihood(prediction.y_ND, y_ND).mean(),
            "val/kl": kl_per_dimension(prediction.posterior).sum(dim=-1).mean(),
        }
        for name, value in values.items():
            self.log(name, value, prog_bar=name == "val/l2", batch_size=len(y_ND))

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        """Return AdamW and its schedule, which moves every step."""
        config = self.optimiser_config
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
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
