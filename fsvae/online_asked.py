"""A question with the user as of it: what is checked and looked up before the model is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.features.clock import PAUSE_US
from fsvae.live_users import LiveUser
from fsvae.models.online_state import UNKNOWN, NewListens, UserState
from fsvae.online_question import Question, RecentListen, RequestError


class Asked(NamedTuple):
    """A question, with the user as of it."""

    question: Question
    user: LiveUser
    at: int
    """Time of the request [us since 1970 UTC]."""
    state: UserState
    """State of the user, after the recent listens too when they are read."""
    new: NewListens
    """Recent listens that the user's history does not hold."""
    unknown: list[str]
    """Ids of recent listens that are not known."""


def ask(question: Question, user: LiveUser, tracks: Callable[[Sequence[str]], NDArray[np.int32]]) -> Asked:
    """Return a question with its user; the recent listens are not read yet.

    Args:
        question: the question.
        user: its user as of now.
        tracks: function from the ids of a user's tracks to their indices (`LiveUsers.tracks`).

    Raises:
        RequestError: the user's stored history, or a recent listen, goes beyond the time of the request.
    """
    if question.diversity and question.seed is None:
        question = replace(question, seed=torch.Generator().seed())  # what explains the answer draws the same
    at = _time_of(question, user)
    known, at_of, share, unknown = [], [], [], []
    if question.recent:
        covered = user.state.last_played_at
        before = [listen.track_id for listen in user.listens]
        indices = tracks([*before, *(listen.track_id for listen in question.recent)])[len(before) :].tolist()
        times = _times(question.recent, covered, at)
        for listen, played_at, track in zip(question.recent, times, indices, strict=True):
            if track >= UNKNOWN:
                unknown.append(listen.track_id)
            if listen.played_at is None or played_at > covered:
                known.append(track)
                at_of.append(played_at)
                share.append(listen.played_fraction)
    return Asked(question, user, at, user.state, NewListens(known, at_of, share), unknown)


def now(user: LiveUser) -> int:
    """Return the time [us]: now, but no earlier than the user's last listen, as a log may be ahead of this clock."""
    return max(time.time_ns() // 1000, user.state.last_played_at if user.known else 0)


def _time_of(question: Question, user: LiveUser) -> int:
    """Return the time of a request [us]; that of a listen that is later, as far as clocks may differ.

    Raises:
        RequestError: a listen is later still.
    """
    covered, skew = user.state.last_played_at, question.skew_us
    at = now(user) if question.at is None else question.at
    if at < covered <= at + skew:
        at = covered
    latest = max([at, *(one.played_at for one in question.recent if one.played_at is not None)])
    if latest - at > skew:
        limit = f"more than {skew / 1e6:g} s " if skew else ""
        raise RequestError("recent", f"recent holds a listen that is {limit}later than the request")
    if latest < covered:
        last = datetime.fromtimestamp(covered / 1e6, UTC).isoformat(timespec="microseconds")
        message = f"at is before the last listen that the model knows of {question.user_id}, at {last}"
        raise RequestError("at", f"{message}: ask from then on.")
    return latest


def _times(recent: Sequence[RecentListen], covered: int, at: int) -> list[int]:
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
