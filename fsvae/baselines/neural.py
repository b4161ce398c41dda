"""Every network that the comparison trains, FS-VAE among them, by the name that configs call it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fsvae.baselines.gru4rec import GRU4Rec, GRU4RecConfig
from fsvae.baselines.jodie import JODIE, JODIEConfig
from fsvae.baselines.latent_cross import LatentCross, LatentCrossConfig
from fsvae.baselines.mult_vae import MultVAE, MultVAEConfig
from fsvae.baselines.sasrec import SASRec, SASRecConfig
from fsvae.data.dataset import PreparedDataset
from fsvae.models.base import Network
from fsvae.models.build import build_model, slow_moments
from fsvae.models.model_config import ModelConfig
from fsvae.models.predict import NetworkRecommender
from fsvae.models.trainer import TrainConfig, check_targets, fit
from fsvae.recommender import Predictions


class NetworkKind(NamedTuple):
    """One kind of network."""

    title: str
    """What it is called in tables."""
    config: type
    """The dataclass of its sizes and switches."""
    build: Callable[[PreparedDataset, Any], Network]
    """Returns an untrained one for a dataset and a config; its weights are drawn from torch's generator."""

    def untrained(self, dataset: PreparedDataset, config: Any, seed: int) -> Network:
        """Return one whose weights are drawn by a seed.

        Raises:
            UserError: the dataset has nothing to learn from; told before a network is normalised by it.
        """
        check_targets(dataset)
        torch.manual_seed(seed)
        return self.build(dataset, config)


def _around_tracks(network: Callable[..., Network]) -> Callable[[PreparedDataset, Any], Network]:
    return lambda dataset, config: network(config, torch.from_numpy(dataset.vectors), dataset.n_catalogue)


def _latent_cross(dataset: PreparedDataset, config: LatentCrossConfig) -> LatentCross:
    return LatentCross(config, torch.from_numpy(dataset.vectors), dataset.n_catalogue, *slow_moments(dataset))


NETWORKS = {
    "fsvae": NetworkKind("FS-VAE", ModelConfig, build_model),
    "latent_cross": NetworkKind("LatentCross", LatentCrossConfig, _latent_cross),
    "jodie": NetworkKind("JODIE", JODIEConfig, _around_tracks(JODIE)),
    "mult_vae": NetworkKind("VAE-CF", MultVAEConfig, _around_tracks(MultVAE)),
    "gru4rec": NetworkKind("GRU4Rec", GRU4RecConfig, _around_tracks(GRU4Rec)),
    "sasrec": NetworkKind("SASRec", SASRecConfig, _around_tracks(SASRec)),
}


class NeuralRecommender:
    """A network behind the `Recommender` protocol that is trained when it is fitted."""

    def __init__(
        self, kind: str, config: Any = None, train: TrainConfig | None = None, seed: int = 1, folder: Path | None = None
    ) -> None:
        """Choose a network and how it is trained.

        Args:
            kind: one of `NETWORKS`.
            config: of the kind's dataclass; by default its defaults.
            train: the training, FS-VAE's by default.
            seed: of the weights, the order and the noise.
            folder: of the checkpoints, from which an interrupted fit goes on; by default none are kept.
        """
        self._kind = NETWORKS[kind]
        self._config = self._kind.config() if config is None else config
        self._train = train or TrainConfig()
        self._seed = seed
        self._folder = folder
        self.name = self._kind.title

    def fit(self, dataset: PreparedDataset) -> None:
        """Train on the training period; the validation period chooses the epoch.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            UserError: the dataset has nothing to learn from.
        """
        network = self._kind.untrained(dataset, self._config, self._seed)
        with tempfile.TemporaryDirectory() as temporary:
            fit(network, dataset, self._train, self._seed, self._folder or Path(temporary))
        self._fitted = NetworkRecommender(self.name, network)

    def predict(self, dataset: PreparedDataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in the span; the dataset must be in the track space of the one fitted on."""
        return self._fitted.predict(dataset, begin_us, end_us)
