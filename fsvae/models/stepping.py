"""The fast state of one user, one listen at a time: what the endpoint does instead of replaying a history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fsvae.features.fast import listen_features
from fsvae.features.sessions import NEVER
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAE


@dataclass(frozen=True)
class UserState:
    """All that is kept of a user's history: a count, a time, and two LSTM states."""

    n_listens: int
    last_played_at: int
    """Microseconds since 1970 UTC, or `sessions.NEVER`."""
    current: State
    """h and c [layers, 1, H] from the anchor of the next listen: what a prediction reads."""
    following: State
    """Likewise from the anchor after that one: what `current` becomes when the anchor moves on."""


def new_user(model: FSVAE) -> UserState:
    """Return the state of a user who has not listened to anything."""
    return UserState(0, NEVER, model.fast.zero_state(1), model.fast.zero_state(1))


@torch.inference_mode()
def advance(model: FSVAE, state: UserState, track: int, played_at: int, played_fraction: float) -> UserState:
    """Return the state after one more listen: at most one step of each of the two LSTM states.

    The anchor before listen n is max(0, (n // L - 1) * L); from L listens after it the next anchor's state runs too.

    Args:
        model: the model.
        state: the user's state so far.
        track: index of the track; the size of the catalogue, or more, for one outside it.
        played_at: microseconds since 1970 UTC.
        played_fraction: share of the track that was heard.
    """
    features = listen_features(
        np.array([played_at]), np.array([state.last_played_at]), np.array([played_fraction], dtype=np.float32)
    )
    inputs = torch.tensor([track]), torch.from_numpy(features)
    history = model.config.history
    n = state.n_listens
    next_anchor = max(0, (n // history - 1) * history) + history
    current = model.step(*inputs, state.current)
    following = model.step(*inputs, state.following) if n >= next_anchor else state.following
    n += 1
    if n == next_anchor + history:
        current, following = following, model.fast.zero_state(1)
    return UserState(n, played_at, current, following)
