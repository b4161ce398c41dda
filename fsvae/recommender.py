"""The interface of every model, FS-VAE and baselines alike: learning from a dataset, evaluation, recommendations."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from fsvae.candidates import UNSCORED, Candidates
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError, nearest
from fsvae.features.clock import SECOND_US
from fsvae.predictions import Predictions, Predictor
from fsvae.requests import (
    Time,
    listed,
    recent_listens,
    request_of_listener,
    requests_of_users,
    time_us,
)
from fsvae.retrieval import TrackIndex, highest

Answer = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Track indices, best first, and their scores."""

_EMPTY = pd.DataFrame(columns=["user_id", "track_id", "score", "rank", "title", "artist"])


class Recommender(ABC):
    """A model that learns from a dataset, predicts its listens from earlier ones, and recommends.

    Recommendations are the predictions that would be evaluated if the next listen were at the time of the request: of
    all tracks that anybody has listened to before.

    Examples:
        >>> import fsvae, pandas as pd
        >>> plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 100})
        >>> plays["played_at"] = pd.date_range("2026-01-01", periods=300, freq="1h")
        >>> dataset = fsvae.Dataset.from_pandas(fsvae.read_listens(plays))
        >>> model = fsvae.baselines.MarkovBlended().fit(dataset)
        >>> model.next_tracks(recent=["t1"], k=2)[["track_id", "rank"]]
          track_id  rank
        0       t2     1
        1       t1     2
    """

    name: str
    """Name in tables."""
    _dataset: Dataset

    def fit(self, dataset: Dataset, refit: bool = True) -> Self:
        """Learn from a dataset and return the model.

        Args:
            dataset: dataset to learn from.
            refit: learn from the training and the validation period together, to be evaluated on the test period; a
                network does where `TrainConfig.refit` says so too. False: learn from the training period alone, so
                that the model can be evaluated on the validation period.

        Raises:
            UserError: the dataset has nothing to learn from, or is none.
        """
        if not isinstance(dataset, Dataset):
            raise UserError(
                f"fit takes a Dataset, not a {type(dataset).__name__}: make one of a frame df with "
                "Dataset.from_pandas(fsvae.read_listens(df))."
            )
        self._dataset = self._learned(dataset, refit)
        return self

    def _learned(self, dataset: Dataset, refit: bool) -> Dataset:
        """Learn from a dataset, as `fit` says, and return it as it was learned from."""
        learned = dataset.with_validation_learned() if refit else dataset
        self._fit(learned)
        return learned

    @abstractmethod
    def _fit(self, dataset: Dataset) -> None:
        """Learn from the training period."""

    @abstractmethod
    def predict(self, dataset: Dataset, begin_us: int, end_us: int) -> Iterator[Predictions]:
        """Predict every listen in [begin_us, end_us), in one pass over each history.

        A prediction uses only listens before its target in the order (played_at, position in the source), and the
        time of the request. The dataset must be in the track space of the one that was learned from (`view`).
        """

    def view(self, dataset: Dataset) -> Dataset:
        """Return a dataset in the model's track space."""
        tracks, vectors = self._space
        return dataset.in_space_of(tracks, vectors)

    def refreshed(self, times: Sequence[int]) -> Predictor | None:
        """Return the model with everybody's memory brought up to date at some times [us]; None: it has none."""
        return None

    def learned_until(self, period: str) -> int:
        """Return the time [us] before which listens have shaped the model; for the test period, its selection too."""
        return self._dataset.period(period)[0]

    def __getattr__(self, name: str) -> Any:
        """Tell of what a fit makes that there was none.

        Raises:
            UserError: the model is not fitted.
        """
        if name in ("_dataset", "_bundle", "_files", "_predictor"):
            raise UserError(f"{self.name} is not fitted yet: call fit(dataset) first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """Return the name and how many tracks can be recommended, in a line."""
        try:
            return f"<{self.name}, fitted on {len(self._space[1]):,} tracks>"
        except UserError:
            return f"<{self.name}, not fitted>"

    def recommend(self, users: Sequence[str], k: int = 10, at: Time | None = None) -> pd.DataFrame:
        """Return the next tracks for users of the dataset, best first.

        Args:
            users: their ids.
            k: number of tracks for each.
            at: time of the request (UTC if it has no time zone); by default a second after the dataset's last listen.

        Returns:
            A row a user and track: user_id, track_id, score (higher is better; comparable within a user; null where the
            model gives none), rank (from 1), title and artist (null where the log does not tell).

        Raises:
            UserError: a user is not in the dataset, or has listens after `at`.
        """
        time = self._time(at)
        users = listed(users, "users")
        answers = self._answers(users, _number(k), time)
        found = [self._frame(*answer).assign(user_id=user) for user, answer in zip(users, answers, strict=True)]
        return pd.concat(found or [_EMPTY], ignore_index=True)[_EMPTY.columns]

    def next_tracks(self, recent: Sequence[str] | pd.DataFrame, k: int = 10, at: Time | None = None) -> pd.DataFrame:
        """Return the next tracks for an unknown listener with some recent listens, best first.

        Args:
            recent: track ids, oldest first, taken to have begun 3.5 minutes apart; or a frame with the columns
                track_id and played_at, in order of time. Tracks that the dataset does not know count as listens.
            k: number of tracks.
            at: time of the request, as in `recommend`.

        Returns:
            A row a track, as in `recommend`, without user_id.

        Raises:
            UserError: `recent` lacks a column, is not in order of time, or goes beyond `at`.

        Warns:
            UserWarning: the model does not know a track.
        """
        time = self._time(at)
        tracks, played_at = recent_listens(recent, time)
        known = set(self._space[0]["track_id"])
        if unknown := [repr(track) for track in tracks if track not in known]:
            warnings.warn(f"recent: {self.name} does not know {', '.join(unknown[:5])}.", stacklevel=2)
        return self._frame(*self._answer_to_listener(tracks, played_at, _number(k), time))

    def similar_tracks(self, track: str, k: int = 10) -> pd.DataFrame:
        """Return the tracks with a vector that are nearest to a track by cosine, itself left out, best first.

        Raises:
            UserError: the model has no vector of the track.
        """
        tracks, vectors = self._space
        ids = tracks["track_id"][: len(vectors)].to_list()
        if track not in ids:
            raise UserError(f"There is no vector of track {track!r}." + nearest(track, ids))
        index = ids.index(track)
        best, scores = TrackIndex(vectors).nearest(vectors[index], _number(k) + 1)
        others = best != index
        return self._frame(best[others][:k], scores[others][:k])

    @property
    def _space(self) -> tuple[pl.DataFrame, NDArray[np.float32]]:
        """Return the tracks (DATASET_TRACKS) and the vectors [V, D] of the first of them."""
        return self._dataset.tracks, self._dataset.vectors

    def _time(self, at: Time | None) -> int:
        """Return the time [us] of a request, by default a second after the last listen that the model knows."""
        return self._last_listen_at + SECOND_US if at is None else time_us(at)

    @property
    def _last_listen_at(self) -> int:
        """Return the time [us] of the last listen that the model knows."""
        return int(self._dataset.listens.played_at.max())

    def _answers(self, users: Sequence[str], k: int, at: int) -> list[Answer]:
        """Return the best tracks for each user at a time [us]."""
        return self._best(requests_of_users(self._dataset, users, at), k, at)

    def _answer_to_listener(self, tracks: list[str], played_at: NDArray[np.int64], k: int, at: int) -> Answer:
        """Return the best tracks at a time [us] for a listener who has heard some tracks."""
        return self._best(request_of_listener(self._dataset, tracks, played_at, at), k, at)[0]

    def _best(self, asked: Dataset, k: int, at: int) -> list[Answer]:
        """Return the best tracks for the last listen of each user of a dataset, which is at a time [us]."""
        last = asked.listens.offsets[1:] - 1
        candidates, times = Candidates(asked), np.array([at])
        k = min(k, int(candidates.count(times)[0]))
        found: dict[int, Answer] = {}
        for part in self.predict(asked, at, at + 1):
            for row in np.flatnonzero(np.isin(part.targets, last)):
                best, scores = highest(candidates.scores(part.at(slice(row, row + 1)), times)[0], k)
                scores[scores == UNSCORED] = np.nan
                found[int(part.targets[row])] = best, scores
        return [found[target] for target in last.tolist()]

    def _frame(self, best: NDArray[np.int64], scores: NDArray[np.float32]) -> pd.DataFrame:
        named = self._space[0][best.tolist()]
        return pd.DataFrame(
            {
                "track_id": named["track_id"].to_list(),
                "score": scores,
                "rank": np.arange(1, len(best) + 1),
                "title": named["title"].to_list(),
                "artist": named["artist_name"].to_list(),
            }
        )


def _number(k: int) -> int:
    if k < 1:
        raise UserError(f"k={k}: the number of tracks is 1 or more.")
    return k
