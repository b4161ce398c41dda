"""Our own models as the peers are run: python -m benchmarks.peers.our_models FOLDER MODEL[:EPOCHS] SEED."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.peers.listens import HISTORY
from fsvae.baselines.registry import MODELS
from fsvae.data.chunks import training_chunks
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.evaluation.protocol import evaluate_model
from fsvae.models.predict import NetworkPredictor
from fsvae.models.refit import trained
from pipelines.config.compose import load_config


def main(folder: Path, name: str, seed: int) -> None:
    """Train a model and write the rank of each test position's target among the trained catalogue, as the others do.

    It learns from the training period alone, as the others do. With a number of epochs FS-VAE has no ranker, which
    takes as long as some epochs.
    """
    name, _, epochs = name.partition(":")
    config = load_config()
    train = replace(config.train, refit=False, max_epochs=int(epochs or config.train.max_epochs))
    dataset = open_dataset(folder / "datasets")
    entry = MODELS[name]
    network_config = replace(config.model if name == "fsvae" else entry.settings(), history=HISTORY)
    if epochs:
        network_config = replace(network_config, ranked=0)
    began = time.perf_counter()
    found = trained(entry.load(), dataset, network_config, train, seed, folder / "checkpoints" / f"{name}{epochs}")
    seconds = time.perf_counter() - began
    result = evaluate_model(NetworkPredictor(found.network), dataset, "test")
    np.save(folder / "ranks.npy", result.catalogue_ranks[result.in_catalogue])
    history = found.network.history
    targets = found.epochs * _targets_an_epoch(dataset, history)
    said = {"history": f"{history}-{2 * history - 1}", "epochs": f"best of {found.epochs}"}
    print(json.dumps(said | {"seconds": seconds, "targets_per_second": targets / seconds}))  # noqa: T201


def _targets_an_epoch(dataset: Dataset, history: int) -> int:
    """Return how many targets an epoch has; most listens are one twice, with a short and with a long context."""
    chunks = training_chunks(dataset.listens, dataset.period("train")[1], history)
    inside = np.concatenate([[0], np.cumsum(dataset.listens.track < dataset.n_catalogue)])
    return int((inside[chunks.start + chunks.length] - inside[chunks.start]).sum())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
