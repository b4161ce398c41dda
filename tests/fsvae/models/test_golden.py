"""The first losses of the networks and the figures of the counting baselines are these numbers.

A refactor must not move them. Who changes what a model learns or says changes them here, and the version beside them:
then finished runs of the code before are not taken for runs of this code.
"""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from tiny_dataset import FIRST_DAY, dataset_of, random_histories, unit_vectors

from fsvae.baselines.registry import MODELS
from fsvae.baselines.settings import NoSettings
from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.dataset import Dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.memory.supports import remember
from fsvae.models.module import TrainingModule
from fsvae.models.train_config import OptimiserConfig
from fsvae.results_version import RESULTS_VERSION
from pipelines.config.compose import load_config

FOREVER = 2**62
GOLDEN_VERSION = 5
"""The RESULTS_VERSION of all the numbers below."""
NO_MEMORY = "model.slow_memory=false model.fast_memory=false model.shared_memory=false"
LOSSES = {
    "model=paper": [-53.236511, -59.024231, -60.781155, -62.524582, -62.474957],
    "model=default": [9.591511, 5.92226, 17.188801, 10.823959, 6.805706],
    "model=default model.slow_memory=false model.fast_memory=false model.shared_memory=false": [
        18.357449,
        8.893646,
        3.372032,
        3.523262,
        2.794594,
    ],
    "recommender=latent_cross": [21.540215, 7.303898, -0.261593, 2.123642, -0.542999],
    "recommender=jodie": [42.777359, 24.172462, 13.128109, 9.841587, 9.760544],
    "recommender=mult_vae": [26.092991, 10.760777, 5.338578, 9.398946, 10.328723],
    "recommender=gru4rec": [23.286621, 6.646507, 0.021568, 1.687073, -0.671707],
    "recommender=sasrec": [157.891174, 155.042679, 53.546036, 22.479412, 10.927071],
}
METRICS = ("mrr", "l2", "cosine", "coverage@10", "novelty@10", "diversity@10")
FIGURES = {
    "popularity": [0.165205, 0.972488, 0.76782, 0.454545, 4.162172, 1.014445],
    "recent_popularity": [0.173622, 0.972459, 0.768014, 0.454545, 4.178664, 1.011395],
    "average": [0.163988, 0.976837, 0.7829, 0.909091, 4.548521, 0.958031],
    "aggregate_sequence": [0.164657, 1.021835, 0.857117, 0.909091, 4.563604, 0.967048],
    "last_track": [0.160219, 1.307412, 0.932018, 0.909091, 4.557139, 0.963989],
    "markov_global": [0.164889, 1.000399, 0.841971, 1.0, 4.311412, 1.000632],
    "markov": [0.168157, 0.990771, 0.824604, 1.0, 4.423361, 0.996197],
    "item_knn": [0.167048, 0.979809, 0.795536, 1.0, 4.438907, 0.988497],
    "vsknn": [0.164632, 1.034324, 0.871044, 1.0, 4.353111, 0.993433],
}
CHANGED = (
    "Results have changed. If that is meant, raise RESULTS_VERSION in fsvae/results_version.py, and write the new "
    "numbers and GOLDEN_VERSION here, so that runs and matrices of the code before do not count as done."
)


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, torch.Tensor], *_: object
    ) -> None:
        self.found.append(float(outputs["loss"]))


def data(validation_until: int) -> Dataset:
    """Ten users, 20 tracks of 80 dimensions, two tracks without a vector."""
    histories = random_histories([10 + 30 * user for user in range(10)], 22, seed=1)
    train_until = min(FIRST_DAY * DAY_US + 60 * DAY_US, validation_until)
    return dataset_of(histories, unit_vectors(20, 80), train_until, validation_until, outside=2)


def test_the_numbers_are_those_of_the_present_version_and_of_all_models() -> None:
    assert GOLDEN_VERSION == RESULTS_VERSION, CHANGED
    neural = {name for name, entry in MODELS.items() if entry.neural}
    assert FIGURES.keys() == MODELS.keys() - neural
    assert {f"recommender={name}" for name in neural if name != "fsvae"} < LOSSES.keys()


@pytest.mark.parametrize("override", list(LOSSES))
def test_the_first_losses_are_the_known_ones(override: str) -> None:
    """Five steps of about 128 listens."""
    dataset = data(FOREVER)
    name = override.partition("recommender=")[2] or "fsvae"
    config = load_config(override.split())
    settings = config.model if name == "fsvae" else getattr(config.baselines, name)
    settings.history = 32
    torch.manual_seed(1)
    network = MODELS[name].load().for_dataset(dataset, settings)
    module = TrainingModule(network, OptimiserConfig(), seed=1)
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
    memory = remember(dataset).supports if network.has_memory else None
    trainer.fit(module, ChunkDataModule(dataset, 32, 128, seed=1, memory=memory))
    # sums differ a little with the number of threads
    assert losses.found == pytest.approx(LOSSES[override], rel=1e-4, abs=1e-4), CHANGED


@pytest.mark.parametrize("name", list(FIGURES))
def test_the_figures_of_a_counting_baseline_are_the_known_ones(name: str) -> None:
    """370 listens to learn from and 1 080 targets."""
    dataset = data(FIRST_DAY * DAY_US + 20 * DAY_US)
    recommender = MODELS[name].load()(getattr(load_config([]).baselines, name, NoSettings())).fit(dataset)
    metrics = evaluate_model(recommender, dataset, "test").metrics()
    assert [metrics[metric] for metric in METRICS] == pytest.approx(FIGURES[name], rel=1e-5), CHANGED
