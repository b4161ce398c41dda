"""The recommender behind the endpoint: a bundle, and one model step for each listen, without HTTP or Ray.

Questions are answered in batches: the tensors of a single one are so small that what a call of torch costs by itself is
most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.bundle import Bundle
from fsvae.errors import UserError
from fsvae.explanations import Explained, explain
from fsvae.features.clock import DAY_US
from fsvae.features.taste import DaySums
from fsvae.live_tracks import LiveTracks, TrackNotice
from fsvae.live_users import LiveEvent, LiveUser, LiveUsers
from fsvae.models.online_state import Found, NewListens, predict, update
from fsvae.online_asked import Asked, ask, now
from fsvae.online_question import Answer, Question, RecentListen, RecommendedTrack, RequestError, Shares
from fsvae.online_search import Best, Wanted, best_of_all, best_of_few
from fsvae.retrieval import TrackIndex, highest


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
        came: Callable[[str, int], Sequence[LiveEvent]] = lambda user_id, after: (),
        notices: Callable[[int], Sequence[TrackNotice]] = lambda after: (),
    ) -> None:
        """Keep the bundle's model, catalogue and users in memory; one thread at a time may ask.

        Args:
            bundle: the bundle.
            approximate_from: see `TrackIndex`.
            came: function from a user and a sequence number to the user's events that came after it, since the bundle
                was made; by default there are none.
            notices: function from a number to the notices of tracks whose latest change has a higher one.

        Raises:
            UserError: the model is one for comparisons only.
        """
        check_servable(bundle)
        self._approximate_from = approximate_from
        self._tracks = LiveTracks(bundle, notices)
        self._users = LiveUsers(bundle, self._tracks.index, came)
        self._take(bundle)
        # compiles what a request runs, which takes seconds the first time on a machine
        one = np.zeros(1, dtype=np.int64)
        DaySums.of(one, one.astype(np.int32), one, bundle.vectors).taste(one, one + 1)
        if bundle.model.has_memory:
            self.next_tracks(None, [RecentListen(self._tracks.ids[0])], 1, DAY_US)

    def last_heard(self, user_id: str) -> int | None:
        """Return the time [us] of a user's last listen, or None for an unknown user."""
        user = self._users.user(user_id)
        return user.state.last_played_at if user.known else None

    def now(self, user_id: str) -> int:
        """Return the time [us] of a request of a user without one."""
        return now(self._users.user(user_id))

    def user(self, user_id: str) -> LiveUser:
        """Return a user as of now."""
        return self._users.user(user_id)

    def read(self, user_ids: Sequence[str]) -> None:
        """Make the states of some users, and keep them."""
        self._users.users(user_ids)

    @property
    def kept_users(self) -> list[str]:
        """Return the users whose states are kept."""
        return self._users.kept

    @property
    def bundle(self) -> Bundle:
        """Return the bundle, with the tracks that were added."""
        return self._tracks.bundle

    @property
    def tracks(self) -> LiveTracks:
        """Return the tracks as they are now."""
        return self._tracks

    def next_tracks(
        self, user_id: str | None, recent: Sequence[RecentListen], k: int, at: int, skew_us: int = 0
    ) -> Answer:
        """Recommend k tracks to follow a user's history and the recent listens (see `Question`).

        Raises:
            UserError: the user's stored history goes beyond the time of the request; earlier states are not stored.
        """
        (answer,) = self.answers([Question(user_id, tuple(recent), k, at, skew_us)])
        if isinstance(answer, RequestError):
            raise answer
        return answer

    @torch.inference_mode()
    def answers(self, questions: Sequence[Question]) -> list[Answer | RequestError]:
        """Return the answer to each of some questions, or what is wrong with it."""
        self.refresh()
        asked = self._asked(questions)
        right = [one for one in asked if isinstance(one, Asked)]
        made = iter(self._answered(right) if right else ())
        return [one if isinstance(one, RequestError) else next(made) for one in asked]

    @torch.inference_mode()
    def best(
        self, user_id: str | None, recent: Sequence[RecentListen], k: int, at: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the indices and the scores of the tracks that `next_tracks` recommends, best first.

        Raises:
            UserError: the user's stored history goes beyond the time of the request.
        """
        asked = self._alone(Question(user_id, tuple(recent), k, at))
        return self._search(self._predict(asked), asked)[0]

    @torch.inference_mode()
    def embedding(self, user_id: str, at: int) -> NDArray[np.float32]:
        """Return the mean of a user's latent at a time [us], [Z].

        Raises:
            UserError: the user's stored history goes beyond the time.
        """
        found = self._predict(self._alone(Question(user_id, at=at)))
        mean: NDArray[np.float32] = found.prediction.posterior.mean[0].numpy()
        return mean

    @torch.inference_mode()
    def ranks(self, events: Sequence[tuple[str, LiveEvent]]) -> list[int | None]:
        """Return the rank, from 1, that each of some users' listens had before it was read; ties count against it.

        Returns:
            None where the user's state has read it already, or where it came late; the number of tracks plus one for a
            track that is not known.
        """
        self.refresh()
        ranks: list[int | None] = [None] * len(events)
        places = list(range(len(events)))
        while places:
            first: dict[str, int] = {}
            for place in places:
                first.setdefault(events[place][0], place)  # a user's next one is after the state has read this one
            self._rank(events, list(first.values()), ranks)
            taken = set(first.values())
            places = [place for place in places if place not in taken]
        return ranks

    def _rank(self, events: Sequence[tuple[str, LiveEvent]], places: list[int], ranks: list[int | None]) -> None:
        """Write the ranks of the events at some places, which are of different users."""
        users = self._users.before([(events[place][0], events[place][1].sequence) for place in places])
        asked, placed = [], []
        for place, user in zip(places, users, strict=True):
            user_id, event = events[place]
            # the model and everybody's memory have seen what came before the end of the dataset
            if user is None or event.played_at < max(user.state.last_played_at, self.bundle.until):
                continue
            index = self._tracks.index.get(event.track_id)
            if index is None:
                ranks[place] = len(self._tracks.ids) + 1
                continue
            asked.append(Asked(Question(user_id), user, event.played_at, user.state, NewListens((), (), ()), []))
            placed.append((place, index))
        if asked:
            for (place, index), scores in zip(placed, self._scores(self._predict(asked)), strict=True):
                ranks[place] = int((~(scores < scores[index])).sum()) if index < len(scores) else len(scores) + 1

    def similar(self, track_id: str, k: int) -> list[RecommendedTrack] | None:
        """Return the k tracks nearest to a track in the track space, most similar first.

        Returns:
            None where the track is not known, or has no vector.
        """
        self.refresh()
        place = self._tracks.index.get(track_id)
        vectors = self.bundle.vectors
        if place is None or place >= len(vectors) or not vectors[place].any():
            return None
        scores = vectors @ vectors[place]
        scores[[place, *self._tracks.hidden[self._tracks.hidden < len(scores)]]] = -np.inf
        scores[~vectors.any(axis=1)] = -np.inf
        best, found = highest(scores, k)
        return [self._track(i, score) for i, score in zip(best, found, strict=True) if np.isfinite(score)]

    def taken_reads(self) -> tuple[int, int]:
        """Return how many users were asked for since the last call whose state was kept, and how many others."""
        kept, made = self._users.reads
        self._users.reads = [0, 0]
        return kept, made

    def refresh(self) -> None:
        """Read which tracks were added or hidden."""
        new = self._tracks.refresh()
        if new:
            self._users.take(self.bundle, frozenset(new))
            self._take(self.bundle)

    def _take(self, bundle: Bundle) -> None:
        self._model = bundle.model
        self._model.keep_search_table()
        self._index: TrackIndex | None = None
        if not self._model.has_memory:
            self._index = TrackIndex(self._model.search_table.numpy(), self._approximate_from)

    def _asked(self, questions: Sequence[Question]) -> list[Asked | RequestError]:
        """Return each question with its user, after the recent listens, or what is wrong with it."""
        named = [question.user_id for question in questions if question.user_id is not None]
        users = dict(zip(named, self._users.users(named), strict=True))
        nobody = LiveUser(self._users.nobody)
        asked: list[Asked | RequestError] = []
        for question in questions:
            user = nobody if question.user_id is None else users[question.user_id]
            try:
                asked.append(ask(question, user, self._users.tracks))
            except RequestError as error:
                asked.append(error)
        reading = [(place, one) for place, one in enumerate(asked) if isinstance(one, Asked) and one.new.track]
        if reading:
            states, new = [one.state for _, one in reading], [one.new for _, one in reading]
            for (place, one), state in zip(reading, update(self._model, states, new, self.bundle.shared), strict=True):
                asked[place] = one._replace(state=state)
        return asked

    def _alone(self, question: Question) -> list[Asked]:
        """Return a single question with its user.

        Raises:
            RequestError: something is wrong with it.
        """
        (one,) = self._asked([question])
        if isinstance(one, RequestError):
            raise one
        return [one]

    def _predict(self, asked: Sequence[Asked]) -> Found:
        noise_NZ = None
        if any(one.question.diversity for one in asked):
            noise_NZ = torch.stack([self._noise(one.question) for one in asked])
        slow_NE = self._slow(asked)
        states, at = [one.state for one in asked], [one.at for one in asked]
        return predict(self._model, states, slow_NE, at, self.bundle.shared, noise_NZ)

    def _slow(self, asked: Sequence[Asked]) -> Tensor:
        """Return the slow encodings, [N, E]; zeros where nothing was heard."""
        slow_NE = torch.zeros(len(asked), self._model.config.slow_dim)
        named = [(row, one) for row, one in enumerate(asked) if one.question.user_id is not None]
        made = self._users.slow([(one.question.user_id or "", one.user, one.at) for _, one in named])
        rows = [row for (row, _), one in zip(named, made, strict=True) if one is not None]
        if rows:
            snapshots = np.stack([one for one in made if one is not None])
            slow_NE[rows] = self._model.slow(torch.from_numpy(snapshots))
        return slow_NE

    def _noise(self, question: Question) -> Tensor:
        """Return how far the latent of a question is drawn from its mean, in standard deviations, [Z]."""
        if not question.diversity:
            return torch.zeros(self._model.config.latent_dim)
        assert question.seed is not None, "a question that is drawn has a seed"
        drawn = torch.Generator().manual_seed(question.seed)
        return question.diversity * torch.randn(self._model.config.latent_dim, generator=drawn)

    def _scores(self, found: Found) -> NDArray[np.float32]:
        """Return the scores of all tracks, [N, T]; those without a vector have none for a model without a memory."""
        scores: NDArray[np.float32] = self._model.track_scores(*found).numpy()
        if not self._model.has_memory:
            scores[:, self._model.unplaced.numpy()] = -np.inf
        return scores

    def _search(self, found: Found, asked: Sequence[Asked]) -> list[Best]:
        """Return the best tracks for each question."""
        wanted = [self._wanted(one) for one in asked]
        plain = not len(self._model.unplaced) and all(one.any_track and not len(one.unwanted) for one in wanted)
        if self._index is not None and plain:
            queries = found.prediction.query_ND.numpy()
            return [self._index.nearest(query, one.k) for query, one in zip(queries, wanted, strict=True)]
        if self._model.ranker is None or found.supports is None or found.rows is None:
            return [best_of_all(*one) for one in zip(self._scores(found), wanted, strict=True)]
        mixture = self._model.mixture(found.prediction, found.rows)
        few, ranked_NK = self._model.ranked(mixture, found.prediction, found.supports, found.rows)
        p_NT, track_NK, ranked = mixture.p_NT.numpy(), few.track_NK.numpy(), ranked_NK.numpy()
        least = few.p_NK[:, -1].tolist()
        answers = []
        for row, one in enumerate(wanted):
            best = best_of_few(track_NK[row], ranked[row], least[row], one)
            if best is None:
                p_NT[row, track_NK[row]] = ranked[row]
                best = best_of_all(p_NT[row], one)
            answers.append(best)
        return answers

    def _wanted(self, one: Asked) -> Wanted:
        """Return which tracks a question may be answered with."""
        question, index = one.question, self._tracks.index
        parts = [self._tracks.hidden]
        if one.user.disliked or question.exclude_tracks:
            said = (index.get(track_id) for track_id in (*one.user.disliked, *question.exclude_tracks))
            parts.append(np.array([place for place in said if place is not None], dtype=np.int64))
        if question.exclude_artists:
            parts.append(self._tracks.of_artists(question.exclude_artists))
        if question.repeats == "forbidden":
            parts.append(self._heard(one, len(index)))
        unwanted = parts[0] if len(parts) == 1 else np.concatenate(parts)
        only = None
        if question.only is not None:
            named = {place for track_id in question.only if (place := index.get(track_id)) is not None}
            only = np.array(sorted(named), dtype=np.int64)
        reduced = self._heard(one, len(index)) if question.repeats == "reduced" else None
        return Wanted(question.k, unwanted, only, reduced)

    def _heard(self, one: Asked, n_tracks: int) -> NDArray[np.int64]:
        """Return the tracks that the user has heard, recent ones too."""
        if one.question.user_id is None or self._model.has_memory:
            heard = one.state.heard.track
        else:
            heard = self._users.heard(one.question.user_id)
        recent = self._users.tracks([listen.track_id for listen in one.question.recent])
        heard = np.unique(np.append(heard, recent))
        return np.asarray(heard[heard < n_tracks], dtype=np.int64)

    def _answered(self, asked: Sequence[Asked]) -> list[Answer]:
        found = self._predict(asked)
        best = self._search(found, asked)
        spread = found.prediction.posterior.log_variance
        spreads = [None] * len(asked) if spread is None else torch.exp(0.5 * spread).mean(dim=1).tolist()
        explained: list[Explained | None] = [None] * len(asked)
        wanted = [place for place, one in enumerate(asked) if one.question.explain]
        for place in wanted:
            one = asked[place]
            alone = self._predict([one])
            explained[place] = explain(self._model, alone, one.state, self._slow([one])[0], one.at, best[place][0])
        answers = []
        for one, (tracks, scores), uncertainty, why in zip(asked, best, spreads, explained, strict=True):
            shares = [None] * len(tracks) if why is None else why.shares
            answers.append(
                Answer(
                    tracks=[self._track(*each) for each in zip(tracks.tolist(), scores, shares, strict=True)],
                    known_user=one.user.known,
                    recent_used=len(one.new.track),
                    unknown_tracks=one.unknown,
                    uncertainty=uncertainty,
                    mood_from_taste=None if why is None else why.mood_from_taste,
                )
            )
        return answers

    def _track(self, place: int, score: float, shares: Shares | None = None) -> RecommendedTrack:
        tracks = self._tracks
        return RecommendedTrack(tracks.ids[place], float(score), tracks.titles[place], tracks.artists[place], shares)
