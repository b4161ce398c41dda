"""The recommender behind the endpoint: a bundle, and one model step for each listen, without HTTP or Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US, PAUSE_US
from fsvae.live_users import LiveListen, LiveUsers
from fsvae.memory.rows import MemoryRows
from fsvae.memory.supports import Supports
from fsvae.models.fsvae import Prediction
from fsvae.models.online_state import new_user, predict, update
from fsvae.retrieval import TrackIndex, highest

Found = tuple[Prediction, Supports | None, MemoryRows | None]
"""What `FSVAENetwork.scores` takes."""


@dataclass(frozen=True)
class RecentListen:
    """A recent listen given in a request."""

    track_id: str
    played_at: int | None = None
    """Time of the listen [us since 1970 UTC]."""
    played_fraction: float = 1.0


@dataclass(frozen=True)
class RecommendedTrack:
    """A recommended track of an answer."""

    track_id: str
    score: float
    """Cosine similarity of the track and the query, from -1 to 1; its probability for a model with a memory."""
    title: str | None
    artist: str | None


@dataclass(frozen=True)
class Answer:
    """The answer of the model to a request."""

    tracks: list[RecommendedTrack]
    known_user: bool
    recent_used: int
    """Number of recent listens that the prediction read, without those that the user's stored history covers."""
    unknown_tracks: list[str]
    """Ids among the recent listens that the model does not know; they count as listens, but carry no taste."""
    uncertainty: float | None
    """Mean standard deviation of the posterior over the latent dimensions; none for a deterministic latent."""


def check_servable(bundle: Bundle) -> None:
    """Refuse a model that cannot be updated listen by listen.

    Raises:
        UserError: the model reads its listens in another order for each target.
    """
    if bundle.model.config.fast == "shuffled":
        raise UserError(
            "The model was trained with model.fast=shuffled, which is for comparisons only: serve another version "
            "(serve.version)."
        )


class OnlineRecommender:
    """Answers single requests from a bundle."""

    def __init__(
        self,
        bundle: Bundle,
        approximate_from: int | None = None,
        came: Callable[[str, int], Sequence[LiveListen]] = lambda user_id, after: (),
    ) -> None:
        """Keep the bundle's model, catalogue and users in memory; one thread at a time may ask.

        Args:
            bundle: the bundle.
            approximate_from: see `TrackIndex`.
            came: function from a user and a sequence number to the user's listens that came after it, since the bundle
                was made; by default there are none.

        Raises:
            UserError: the model is one for comparisons only.
        """
        check_servable(bundle)
        self._bundle = bundle
        self._model = bundle.model
        self._tracks: TrackIndex | None = None
        if not bundle.model.has_memory:
            self._tracks = TrackIndex(bundle.model.search_table.detach().numpy(), approximate_from)
        self._track_ids = bundle.track_ids
        self._index = {track_id: index for index, track_id in enumerate(self._track_ids)}
        self._users = LiveUsers(bundle, self._index, came)
        self._titles = bundle.tracks["title"].to_list()
        self._artists = bundle.tracks["artist_name"].to_list()
        if bundle.model.has_memory:  # compiles what a request runs, which takes seconds the first time on a machine
            self.next_tracks(None, [RecentListen(self._track_ids[0])], 1, DAY_US)

    def last_heard(self, user_id: str) -> int | None:
        """Return the time [us] of a user's last listen, or None for an unknown user."""
        user = self._users.user(user_id)
        return None if user is None else user.state.last_played_at

    def now(self, user_id: str | None) -> int:
        """Return the time [us] of a request without one: now, but no earlier than the user's last listen.

        A log may be ahead of this machine's clock.
        """
        last = None if user_id is None else self.last_heard(user_id)
        return max(time.time_ns() // 1000, last or 0)

    @torch.inference_mode()
    def next_tracks(self, user_id: str | None, recent: list[RecentListen], k: int, at: int, skew_us: int = 0) -> Answer:
        """Recommend k tracks to follow a user's history and the recent listens.

        Args:
            user_id: user whose stored state is continued; None, or an unknown id, starts a new one.
            recent: listens in order of time; those no later than the stored history are in it already.
            k: number of tracks.
            at: time of the request [us since 1970 UTC].
            skew_us: largest time by which the user's last stored listen may be later than the request, as clocks
                differ [us]; the request then counts as made at the time of that listen.

        Raises:
            UserError: the user's stored history goes beyond the time of the request; earlier states are not stored.
        """
        found, known, used, unknown = self._predict(user_id, recent, at, skew_us)
        prediction = found[0]
        best, scores = self._search(found, k)
        spread = prediction.posterior.log_variance
        return Answer(
            tracks=[
                RecommendedTrack(self._track_ids[i], float(score), self._titles[i], self._artists[i])
                for i, score in zip(best.tolist(), scores, strict=True)
            ],
            known_user=known,
            recent_used=used,
            unknown_tracks=unknown,
            uncertainty=None if spread is None else float(torch.exp(0.5 * spread).mean()),
        )

    @torch.inference_mode()
    def best(
        self, user_id: str | None, recent: list[RecentListen], k: int, at: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the indices and the scores of the tracks that `next_tracks` recommends, best first.

        Raises:
            UserError: the user's stored history goes beyond the time of the request.
        """
        return self._search(self._predict(user_id, recent, at)[0], k)

    @torch.inference_mode()
    def embedding(self, user_id: str, at: int) -> NDArray[np.float32]:
        """Return the mean of a user's latent at a time [us], [Z].

        Raises:
            UserError: the user's stored history goes beyond the time.
        """
        mean: NDArray[np.float32] = self._predict(user_id, [], at)[0][0].posterior.mean[0].numpy()
        return mean

    def _search(self, found: Found, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._tracks is not None:
            return self._tracks.nearest(found[0].query_ND[0].numpy(), k)
        # Every track has a probability, so none is skipped.
        return highest(self._model.scores(*found)[0][0].numpy(), k)

    def _predict(
        self, user_id: str | None, recent: list[RecentListen], at: int, skew_us: int = 0
    ) -> tuple[Found, bool, int, list[str]]:
        """Return what is predicted, whether the user is known, the number of recent listens read, unknown tracks."""
        known = self._users.user(user_id) if user_id is not None else None
        state = new_user(self._model) if known is None else known.state
        covered = state.last_played_at
        if at < covered <= at + skew_us:
            at = covered
        if at < covered:
            last = datetime.fromtimestamp(covered / 1e6, UTC).isoformat(timespec="microseconds")
            raise UserError(
                f"at is before the last listen that the model knows of {user_id}, at {last}: ask from then on."
            )
        times = _times(recent, covered, at)
        used, unknown = 0, []
        before = [] if known is None else [listen.track_id for listen in known.listens]
        tracks = self._users.tracks([*before, *(listen.track_id for listen in recent)])[len(before) :].tolist()
        for listen, played_at, track in zip(recent, times, tracks, strict=True):
            if track >= len(self._track_ids):
                unknown.append(listen.track_id)
            if listen.played_at is None or played_at > covered:
                state = update(self._model, state, track, played_at, listen.played_fraction, self._bundle.shared)
                used += 1
        slow_encoding = torch.zeros(1, self._model.config.slow_dim)
        slow = self._users.slow(user_id, at) if user_id is not None else None
        if slow is not None:
            slow_encoding = self._model.slow(torch.from_numpy(slow)[None])
        found = predict(self._model, state, slow_encoding, at, self._bundle.shared)
        return found, known is not None, used, unknown


def _times(recent: list[RecentListen], covered: int, at: int) -> list[int]:
    """Return a time for every recent listen: its own, or one counted back from the next listen or the request.

    A time counted back is never before the previous listen, nor before the end of the stored history.
    """
    times: list[int] = []
    following = at
    for listen in reversed(recent):
        following = listen.played_at if listen.played_at is not None else following - PAUSE_US
        times.append(following)
    times.reverse()
    earliest = covered
    for i, listen in enumerate(recent):
        if listen.played_at is None:
            times[i] = max(times[i], earliest)
        earliest = max(earliest, times[i])
    return times
