"""The use that a trained FS-VAE makes of its latent, dimension by dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.losses import kl_per_dimension

ACTIVE = 0.01
"""Variance of the posterior mean above which a dimension is active (Burda et al., ICLR 2016, section 5.2).

This threshold suits posteriors about as wide as the prior. A much narrower one separates users by smaller differences,
so a dimension is also active if its mean varies more than its posterior does."""
COLLAPSED = 0.1
"""KL [nats] below which a posterior is about the prior: (v - 1 - log v) / 2 is 0.1 at half of its variance."""
DIMENSION_KINDS = ("active", "collapsed", "not used yet")
"""What a dimension can be: it tells users or moments apart; or it is the same for every target, with a posterior that
is about the prior; or else it pays KL, most often for a small variance."""


@dataclass(frozen=True)
class LatentUse:
    """Statistics of the posterior over some targets, by dimension."""

    kl_Z: NDArray[np.float64]
    """[Z] mean KL(q || p) of each dimension [nats]; zero for a deterministic latent."""
    variance_Z: NDArray[np.float64]
    """[Z] variance of the posterior's mean over the targets."""
    noise_Z: NDArray[np.float64]
    """[Z] mean variance of the posterior itself; zero for a deterministic latent."""

    @property
    def kinds(self) -> NDArray[np.str_]:
        """Return what each dimension is, one of DIMENSION_KINDS, [Z]."""
        is_active = (self.variance_Z > ACTIVE) | ((self.noise_Z > 0) & (self.variance_Z > self.noise_Z))
        return np.select([is_active, self.kl_Z < COLLAPSED], ["active", "collapsed"], "not used yet")

    def count(self, kind: str) -> int:
        """Return how many dimensions are of a kind."""
        return int((self.kinds == kind).sum())

    @property
    def by_kl(self) -> NDArray[np.int64]:
        """Return the dimensions, those with most KL first, [Z]."""
        return np.lexsort((-self.variance_Z, -self.kl_Z)).astype(np.int64)


@torch.inference_mode()
def latent_use(model: FSVAENetwork, dataset: Dataset, period: str) -> LatentUse:
    """Return what the posterior is over all listens of a period; the dataset must be in the model's track space."""
    chunks = evaluation_chunks(dataset.listens, *dataset.period(period), model.history)
    batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
    targets, sums = 0, np.zeros((4, model.config.latent_dim))
    model.eval()
    for batch in one_pass(batcher):
        prediction = model(batch)
        mean_NZ = prediction.posterior.mean.double()
        log_variance_NZ = prediction.posterior.log_variance
        noise_NZ = torch.zeros_like(mean_NZ) if log_variance_NZ is None else log_variance_NZ.exp()
        terms = (kl_per_dimension(prediction.posterior, prediction.prior), mean_NZ, mean_NZ**2, noise_NZ)
        sums += np.stack([term.double().sum(dim=0).numpy() for term in terms])
        targets += len(mean_NZ)
    kl_Z, mean_Z, square_Z, noise_Z = sums / max(targets, 1)
    return LatentUse(kl_Z, np.maximum(square_Z - mean_Z**2, 0), noise_Z)
