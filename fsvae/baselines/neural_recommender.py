"""Networks as recommenders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from fsvae.baselines.registry import MODELS
from fsvae.data.dataset import Dataset
from fsvae.files import fingerprint
from fsvae.limits import check
from fsvae.models.base import Network
from fsvae.models.predict import NetworkPredictor
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit, untrained
from fsvae.predictions import Predictions
from fsvae.recommender import Recommender
from fsvae.results_version import RESULTS_VERSION


class NeuralRecommender(Recommender):
    """A network that is trained when it is fitted."""

    kind: ClassVar[str]
    """Name in `fsvae.baselines.registry.MODELS`."""
    _predictor: NetworkPredictor

    def __init__(
        self,
        config: Any = None,
        train: TrainConfig | None = None,
        seed: int = 1,
        folder: str | Path | None = None,
        show_progress: bool = False,
    ) -> None:
        """Take the settings of the network and of its training.

        Args:
            config: settings of the network; its defaults if not given.
            train: settings of the training; the same defaults for all networks.
            seed: seed of the weights, the order and the noise: equal seeds give equal models on one machine.
            folder: folder of checkpoints, from which an interrupted fit of the same goes on; by default none are kept.
            show_progress: draw a progress bar during training.

        Raises:
            UserError: a setting has the wrong type or is outside its limits.
        """
        entry = MODELS[self.kind]
        self._network: type[Network] = entry.load()
        self._config = entry.settings() if config is None else config
        self._train = train or TrainConfig()
        check(self._train, "train.")
        self._seed = seed
        self._folder = None if folder is None else Path(folder)
        self._show_progress = show_progress
        self.name = self._network.name

    def _fit(self, dataset: Dataset) -> None:
        """Train on the training period; the validation period chooses the epoch."""
        network = untrained(self._network, dataset, self._config, self._seed)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if self._folder is None else self._folder / self._made_of(dataset)
            fit(network, dataset, self._train, self._seed, folder, show_progress=self._show_progress)
        self._predictor = NetworkPredictor(network)

    def _made_of(self, dataset: Dataset) -> str:
        """Return the name of what the fitted network depends on: a fit of something else begins anew."""
        settings = asdict(self._config), asdict(self._train)
        return fingerprint([RESULTS_VERSION, self.kind, dataset.fingerprint, *settings, self._seed])

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the track space of the training dataset."""
        return self._predictor.predict(dataset, begin_us, end_us)
