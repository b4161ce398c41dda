"""FS-VAE as a recommender in a notebook, fitted on a dataset or loaded from a bundle, with the endpoint's answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from fsvae.baselines.neural_recommender import NeuralRecommender
from fsvae.bundle import Bundle, load_bundle, save_bundle
from fsvae.models.model_config import ModelConfig
from fsvae.models.predict import NetworkPredictor
from fsvae.models.refit import Trained
from fsvae.models.train_config import TrainConfig
from fsvae.online_question import RecentListen
from fsvae.online_recommender import OnlineRecommender
from fsvae.recommender import Answer
from fsvae.requests import Time, check_known, listed


class FSVAE(NeuralRecommender):
    """FS-VAE (Fazelnia et al., WSDM 2022): a slow and a fast encoder in one variational latent.

    Its answers are those of the endpoint, from the same bundle.

    Examples:
        >>> import fsvae, pandas as pd
        >>> plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 100})
        >>> plays["played_at"] = pd.date_range("2026-01-01", periods=300, freq="1h")
        >>> dataset = fsvae.Dataset.from_pandas(fsvae.read_listens(plays))
        >>> model = fsvae.FSVAE(train=fsvae.TrainConfig(max_epochs=1)).fit(dataset)
        >>> model.recommend(users=["ann"], k=3).columns.to_list()
        ['user_id', 'track_id', 'score', 'rank', 'title', 'artist']
        >>> model.embed_users(["ann"]).shape
        (1, 64)
    """

    kind = "fsvae"
    _bundle: Bundle
    _files: dict[str, bytes]
    """Content of the bundle's files."""

    def __init__(
        self,
        config: ModelConfig | None = None,
        train: TrainConfig | None = None,
        seed: int = 1,
        folder: str | Path | None = None,
        show_progress: bool = False,
    ) -> None:
        """Take the settings of the model and its training, by default those of `fsvae train` (`NeuralRecommender`)."""
        super().__init__(config, train, seed, folder, show_progress)

    @classmethod
    def load(cls, bundle: str | Path) -> Self:
        """Return the model of a bundle, ready to answer.

        Raises:
            UserError: there is no bundle, or it was made by another version.
        """
        loaded = load_bundle(Path(bundle))
        model = cls(loaded.model.config)
        model._use(Path(bundle), loaded)
        return model

    def save(self, path: str | Path) -> None:
        """Write the model as a bundle, which `fsvae.load` opens: safetensors, JSON and Parquet.

        Args:
            path: a folder, made if it is missing.
        """
        Path(path).mkdir(parents=True, exist_ok=True)
        for name, data in self._files.items():
            (Path(path) / name).write_bytes(data)

    def _keep(self, found: Trained[Any]) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            save_bundle(Path(temporary), found.network, found.dataset, {"seed": self._seed})
            self._use(Path(temporary), load_bundle(Path(temporary)))

    def _use(self, folder: Path, bundle: Bundle) -> None:
        self._files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self._bundle = bundle
        self._predictor = NetworkPredictor(bundle.model, validation_learned=bundle.validation_learned)
        self.__dict__.pop("_endpoint", None)  # one of an earlier fit

    @property
    def _space(self) -> tuple[pl.DataFrame, NDArray[np.float32]]:
        return self._bundle.tracks, self._bundle.vectors

    @property
    def _last_listen_at(self) -> int:
        return self._bundle.last_listen_at

    @cached_property
    def _endpoint(self) -> OnlineRecommender:
        return OnlineRecommender(self._bundle)

    def embed_users(self, users: Sequence[str], at: Time | None = None) -> pd.DataFrame:
        """Return the latent of users, the mean of q(z | s, x) (paper, section 3).

        Args:
            users: ids of users that the model knows.
            at: time as of which, as in `recommend`.

        Returns:
            A row a user, [U, Z], indexed by user_id, with the columns z0, z1, ...

        Raises:
            UserError: a user is not known, or has listens after `at`.
        """
        time = self._time(at)
        users = listed(users, "users")
        check_known(users, self._bundle)
        means = [self._endpoint.embedding(user, time) for user in users]
        latent = np.stack(means) if means else np.zeros((0, self._bundle.model.config.latent_dim), dtype=np.float32)
        columns = [f"z{dimension}" for dimension in range(latent.shape[1])]
        return pd.DataFrame(latent, index=pd.Index(users, name="user_id"), columns=columns)

    def learned_until(self, period: str) -> int:
        """Return the time [us] before which listens have shaped the model."""
        return self._bundle.learned_until(period)

    def _answers(self, users: Sequence[str], k: int, at: int) -> list[Answer]:
        check_known(users, self._bundle)
        return [self._endpoint.best(user, [], k, at) for user in users]

    def _answer_to_listener(self, tracks: list[str], played_at: NDArray[np.int64], k: int, at: int) -> Answer:
        heard = [RecentListen(track, then) for track, then in zip(tracks, played_at.tolist(), strict=True)]
        return self._endpoint.best(None, heard, k, at)


def load(bundle: str | Path) -> FSVAE:
    """Return the model of a bundle (a folder of `FSVAE.save` or of `fsvae train`), ready to answer.

    Raises:
        UserError: there is no bundle, or it was made by another version.

    Examples:
        >>> import fsvae
        >>> fsvae.load("nowhere")
        Traceback (most recent call last):
        fsvae.errors.UserError: nowhere: no bundle there (bundle.json is missing). Train one: fsvae train.
    """
    return FSVAE.load(bundle)
