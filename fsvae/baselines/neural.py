"""Networks behind the `Recommender` protocol, trained when they are fitted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsvae.data.dataset import PreparedDataset
from fsvae.models.predict import NetworkRecommender
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit, untrained
from fsvae.recommender import Predictions
from fsvae.registry import MODELS


class NeuralRecommender:
    """A network behind the `Recommender` protocol that is trained when it is fitted."""

    def __init__(
        self, kind: str, config: Any = None, train: TrainConfig | None = None, seed: int = 1, folder: Path | None = None
    ) -> None:
        """Choose a network and how it is trained.

        Args:
            kind: name of a neural model in `fsvae.registry.MODELS`.
            config: its settings; by default its defaults.
            train: the training, FS-VAE's by default.
            seed: seed of the weights, the order and the noise.
            folder: folder of the checkpoints, from which an interrupted fit goes on; by default none are kept.
        """
        self._network = MODELS[kind].load()
        self._config = MODELS[kind].settings() if config is None else config
        self._train = train or TrainConfig()
        self._seed = seed
        self._folder = folder
        self.name: str = self._network.name

    def fit(self, dataset: PreparedDataset) -> None:
        """Train on the training period; the validation period chooses the epoch.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            UserError: the dataset has nothing to learn from.
        """
        network = untrained(self._network, dataset, self._config, self._seed)
        with tempfile.TemporaryDirectory() as temporary:
            fit(network, dataset, self._train, self._seed, self._folder or Path(temporary))
        self._fitted = NetworkRecommender(network)

    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the track space of the one fitted on."""
        return self._fitted.predict(dataset, begin_us, end_us)
