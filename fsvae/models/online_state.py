"""The fast state of one user, updated listen by listen: the endpoint does this instead of replaying a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.data.listens import Listens, offsets_of
from fsvae.features.fast import listen_features, request_features
from fsvae.features.sessions import NEVER
from fsvae.memory.contexts import EXPERTS
from fsvae.memory.rows import Memory, MemoryRows
from fsvae.memory.shared import SharedTables
from fsvae.memory.supports import RECORD_HALF_LIVES, Supports, add_to_record
from fsvae.models.encoders import State
from fsvae.models.fsvae import FSVAENetwork, Prediction

UNKNOWN = 1 << 30
"""Index of the first track that is not known; the others follow."""


@dataclass(frozen=True)
class Heard:
    """What a user's memory is counted from: all listens, and the sums of the track records."""

    track: NDArray[np.int32]
    """[N] track index; a track from T on is a listen that is not counted."""
    played_at: NDArray[np.int64]
    """[N] times [us since 1970 UTC]."""
    records: NDArray[np.float64]
    """[half-lives, 2, E] (`fsvae.memory.supports.records`)."""


NOTHING = Heard(
    np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), np.zeros((len(RECORD_HALF_LIVES), 2, len(EXPERTS)))
)
"""Memory of a new user."""


@dataclass(frozen=True)
class UserState:
    """The stored state of a user's history: a count, a time, two LSTM states, and what the memory is counted from."""

    n_listens: int
    last_played_at: int
    """Time of the last listen [us since 1970 UTC], or `sessions.NEVER`."""
    current: State
    """h and c [layers, 1, H] from the anchor of the next listen; read by predictions."""
    following: State
    """h and c [layers, 1, H] from the anchor after that one; becomes `current` when the anchor moves on."""
    heard: Heard = NOTHING
    """Empty for a model without a memory."""


def new_user(model: FSVAENetwork) -> UserState:
    """Return the state of a user without a listen."""
    return UserState(0, NEVER, model.fast.zero_state(1), model.fast.zero_state(1))


@torch.inference_mode()
def update(
    model: FSVAENetwork,
    state: UserState,
    track: Sequence[int],
    played_at: Sequence[int],
    played_fraction: Sequence[float],
    tables: SharedTables | None = None,
) -> UserState:
    """Return the state after more listens: at most one step of each of the two LSTM states for each.

    The anchor before listen n is max(0, (n // L - 1) * L); from L listens after it, the next anchor's state is run too.

    Args:
        model: the model.
        state: the user's state so far.
        track: [M] track indices; UNKNOWN, or more, for one that is not known.
        played_at: [M] times of the listens [us since 1970 UTC], ascending.
        played_fraction: [M] shares of the tracks that were heard.
        tables: everybody's counts, for a model with a memory.
    """
    at = np.array(played_at, dtype=np.int64)
    previous = np.append(state.last_played_at, at[:-1])
    features = listen_features(at, previous, np.array(played_fraction, dtype=np.float32))
    x_MX = model.listen_inputs(torch.tensor(track), torch.from_numpy(features))
    history = model.config.history
    n, current, following = state.n_listens, state.current, state.following
    begin = 0
    while begin < len(at):
        next_anchor = max(0, (n // history - 1) * history) + history
        until = next_anchor if n < next_anchor else next_anchor + history
        end = min(len(at), begin + until - n)
        current = model.run(x_MX[begin:end], current)
        if n >= next_anchor:
            following = model.run(x_MX[begin:end], following)
        n += end - begin
        begin = end
        if n == next_anchor + history:
            current, following = following, model.fast.zero_state(1)
    heard = state.heard if tables is None else _after(state.heard, track, at, tables)
    return UserState(n, int(at[-1]), current, following, heard)


def _after(heard: Heard, track: Sequence[int], played_at: NDArray[np.int64], tables: SharedTables) -> Heard:
    """Return what is remembered after more listens."""
    tracks = np.append(heard.track, np.array(track, dtype=np.int32))
    times = np.append(heard.played_at, played_at)
    n, records = len(tracks), heard.records.copy()
    memory = Memory(Listens(np.array([0, n]), tracks, times, np.ones(n, dtype=np.float32)), tables)
    rows = np.arange(n - len(track), n)
    supports = memory.supports(rows, np.zeros((len(rows), *records.shape)))
    for total, count in zip(supports.total_NE.numpy(), supports.count_NE.numpy(), strict=True):
        for sums, half_life in zip(records, RECORD_HALF_LIVES, strict=True):
            add_to_record(sums, total, count, half_life)
    return Heard(tracks, times, records)


def _asking(heard: Sequence[Heard], at: Sequence[int], tables: SharedTables) -> tuple[Memory, Listens]:
    """Return the memory of some users, each with a listen to an unknown track at the end of the history."""
    tracks, times = [], []
    for one, time in zip(heard, at, strict=True):
        tracks += [one.track, np.array([UNKNOWN], dtype=np.int32)]
        times += [one.played_at, np.array([time])]
    joined = np.concatenate(tracks)
    offsets = offsets_of(np.array([len(one.track) + 1 for one in heard]))
    listens = Listens(offsets, joined, np.concatenate(times), np.ones(len(joined), dtype=np.float32))
    return Memory(listens, tables), listens


class Found(NamedTuple):
    """What is predicted for N users."""

    prediction: Prediction
    supports: Supports | None
    """What the memory held; None for a model without one, as are the `rows`."""
    rows: MemoryRows | None


@torch.inference_mode()
def predict(
    model: FSVAENetwork,
    states: Sequence[UserState],
    slow_NE: Tensor,
    at: Sequence[int],
    tables: SharedTables | None = None,
    noise_NZ: Tensor | None = None,
) -> Found:
    """Predict what some users play at a time [us] each, no earlier than the last listen of their states.

    Args:
        model: the model.
        states: the users' states.
        slow_NE: their slow encodings; zeros for an unknown user.
        at: times of the requests [us since 1970 UTC].
        tables: everybody's counts, for a model with a memory.
        noise_NZ: see `FSVAENetwork.predict`.
    """
    previous = np.array([state.last_played_at for state in states])
    request = torch.from_numpy(request_features(np.array(at), previous))
    fast_NH = torch.cat([state.current[0][-1] for state in states])
    if tables is None:
        return Found(model.predict(fast_NH, slow_NE, request, noise_NZ=noise_NZ), None, None)
    memory, listens = _asking([state.heard for state in states], at, tables)
    last = listens.offsets[1:] - 1
    supports = memory.supports(last, np.stack([state.heard.records for state in states]))
    prediction = model.predict(fast_NH, slow_NE, request, supports, noise_NZ=noise_NZ)
    return Found(prediction, supports, MemoryRows(memory, last))
