"""The prior that the slow features give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.data.chunks import Batcher, ChunkBatch, training_chunks
from fsvae.data.dataset import Dataset
from fsvae.evaluation.latent_use import latent_use
from fsvae.models.losses import kl_per_dimension
from fsvae.models.posterior import Posterior
from fsvae.models.prior import SlowPrior

FOREVER = np.iinfo(np.int64).max


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset_of(random_histories([9, 14, 5], 8, seed=1), unit_vectors(8, 6), FOREVER, FOREVER)


@pytest.fixture(scope="module")
def batch(data: Dataset) -> ChunkBatch:
    chunks = training_chunks(data.listens, FOREVER, 4)
    return Batcher(data, chunks, catalogue_targets_only=True)[np.arange(len(chunks))]


def test_before_training_it_is_the_standard_normal() -> None:
    prior = SlowPrior(3, 5)(torch.randn(7, 3))
    assert prior.mean.shape == (7, 5) and not prior.mean.any() and not prior.log_variance.any()
    posterior = Posterior(torch.randn(7, 5), torch.randn(7, 5))
    torch.testing.assert_close(kl_per_dimension(posterior, prior), kl_per_dimension(posterior))


def test_it_reads_the_slow_features_and_nothing_else(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, small_config(prior="slow"))
    other = batch._replace(track_BT=(batch.track_BT + 1) % 8, request_BTR=1 - batch.request_BTR)
    slow_SD = torch.cat([batch.slow_SD[:, :1], 1 - batch.slow_SD[:, 1:]], dim=1)
    with torch.inference_mode():
        prior, other_listens = model(batch).prior, model(other).prior
        other_taste = model(batch._replace(slow_SD=slow_SD)).prior
    assert torch.equal(prior.mean, other_listens.mean) and torch.equal(prior.log_variance, other_listens.log_variance)
    assert not torch.allclose(prior.mean, other_taste.mean)
    assert not torch.allclose(prior.log_variance, other_taste.log_variance)


def test_the_loss_is_the_divergence_from_it(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, small_config(prior="slow", beta=0.5, beta_warmup_epochs=0.0))
    with torch.inference_mode():
        terms, figures, prediction = model.loss(batch, epochs=0.0), model.validate(batch), model(batch)
    expected, to_standard = (
        float(kl_per_dimension(prediction.posterior, prior).mean(dim=0).sum()) for prior in (prediction.prior, None)
    )
    assert float(terms["kl"]) == pytest.approx(expected, rel=1e-5) == float(figures["kl"].mean())
    assert expected != pytest.approx(to_standard, rel=0.01)
    assert float(terms["loss"]) == pytest.approx(float(terms["nll"] + 0.5 * terms["kl"] + terms["softmax"]), rel=1e-5)


def test_the_use_of_the_latent_is_counted_from_it(data: Dataset) -> None:
    model = random_model(data, small_config(prior="slow"))
    chunks = training_chunks(data.listens, FOREVER, 100)  # whole histories of up to 14 listens, as in evaluation
    with torch.inference_mode():
        prediction = model(Batcher(data, chunks, catalogue_targets_only=False)[np.arange(len(chunks))])
        expected = kl_per_dimension(prediction.posterior, prediction.prior).mean(dim=0)
    model.config.history = 100
    np.testing.assert_allclose(latent_use(model, data, "train").kl_Z, expected.numpy(), rtol=1e-4)
