"""Networks as recommenders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from fsvae.baselines.registry import MODELS
from fsvae.data.dataset import Dataset
from fsvae.files import fingerprint
from fsvae.limits import check
from fsvae.models.base import Network
from fsvae.models.predict import NetworkPredictor
from fsvae.models.refit import Trained, trained
from fsvae.models.train_config import TrainConfig
from fsvae.predictions import Predictions, Predictor
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

    def _learned(self, dataset: Dataset, refit: bool) -> Dataset:
        """Train; the validation period chooses the number of epochs."""
        config = replace(self._train, refit=self._train.refit and refit)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if self._folder is None else self._folder / self._made_of(dataset, config)
            found = trained(
                self._network, dataset, self._config, config, self._seed, folder, show_progress=self._show_progress
            )
        self._keep(found)
        return found.dataset

    def _keep(self, found: Trained[Any]) -> None:
        """Keep a trained network."""
        self._predictor = NetworkPredictor(found.network, validation_learned=found.validation_learned)

    def _fit(self, dataset: Dataset) -> None:
        self._learned(dataset, refit=False)

    def _made_of(self, dataset: Dataset, config: TrainConfig) -> str:
        """Return the name of what the fitted network depends on: a fit of something else begins anew."""
        settings = asdict(self._config), asdict(config)
        return fingerprint([RESULTS_VERSION, self.kind, dataset.fingerprint, *settings, self._seed])

    def refreshed(self, times: Sequence[int]) -> Predictor | None:
        """Return the model with everybody's memory brought up to date at some times [us]; None: it has none."""
        return self._predictor.refreshed(times) if self._predictor.network.has_memory else None

    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the track space of the training dataset."""
        return self._predictor.predict(dataset, begin_us, end_us)
