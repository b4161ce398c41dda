"""The fast state of one user, updated listen by listen: the endpoint does this instead of replaying a history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsvae.data.chunks import anchor
from fsvae.features.fast import LISTEN_FEATURES, listen_features, request_features
from fsvae.features.sessions import NEVER
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAENetwork, Prediction


@dataclass(frozen=True)
class Ring:
    """The listens since the current anchor, fewer than 2 L, which a repeat head reads."""

    track: Tensor
    """[S] int64 track index."""
    features: Tensor
    """[S, F] `fast.LISTEN_FEATURES`."""

    def after(self, track: Tensor, features: Tensor, keep: int) -> Ring:
        """Return the last `keep` listens with one more at the end: its track [1] and features [1, F]."""
        return Ring(torch.cat([self.track, track])[-keep:], torch.cat([self.features, features])[-keep:])


NO_RING = Ring(torch.zeros(0, dtype=torch.int64), torch.zeros(0, len(LISTEN_FEATURES)))
"""Ring of a new user, and of all users of a model without a repeat head."""


@dataclass(frozen=True)
class UserState:
    """The stored state of a user's history: a count, a time, two LSTM states, and the ring of a repeat head."""

    n_listens: int
    last_played_at: int
    """Time of the last listen [us since 1970 UTC], or `sessions.NEVER`."""
    current: State
    """h and c [layers, 1, H] from the anchor of the next listen; read by predictions."""
    following: State
    """h and c [layers, 1, H] from the anchor after that one; becomes `current` when the anchor moves on."""
    ring: Ring = NO_RING


def new_user(model: FSVAENetwork) -> UserState:
    """Return the state of a user without a listen."""
    return UserState(0, NEVER, model.fast.zero_state(1), model.fast.zero_state(1))


@torch.inference_mode()
def update(model: FSVAENetwork, state: UserState, track: int, played_at: int, played_fraction: float) -> UserState:
    """Return the state after one more listen: at most one step of each of the two LSTM states.

    The anchor before listen n is max(0, (n // L - 1) * L); from L listens after it, the next anchor's state is run too.

    Args:
        model: the model.
        state: the user's state so far.
        track: track index; the size of the catalogue, or more, for one outside it.
        played_at: time of the listen [us since 1970 UTC].
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
    since_anchor = n - int(anchor(np.array(n), history))
    ring = NO_RING if model.repeat_head is None else state.ring.after(*inputs, keep=since_anchor)
    return UserState(n, played_at, current, following, ring)


def predict(model: FSVAENetwork, state: UserState, slow_1E: Tensor, at: int) -> Prediction:
    """Predict what a user plays at a time [us], no earlier than the last listen of the state.

    Args:
        model: the model.
        state: the user's state.
        slow_1E: the user's slow encoding; zeros for an unknown user.
        at: time of the request [us since 1970 UTC].
    """
    request = torch.from_numpy(request_features(np.array([at]), np.array([state.last_played_at])))
    ring, only = state.ring, torch.zeros(1, dtype=torch.int64)
    inputs = model.listen_inputs(ring.track, ring.features)
    past = model.past(inputs[None], ring.track[None], only, only + len(ring.track))
    return model.predict(state.current[0][-1], slow_1E, request, past)
