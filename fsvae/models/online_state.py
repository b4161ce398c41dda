"""The fast state of one user, updated listen by listen: the endpoint does this instead of replaying a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.data.listens import Listens, in_runs, offsets_of
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


class NewListens(NamedTuple):
    """M listens of a user that a state has not read yet."""

    track: Sequence[int]
    """Track indices; UNKNOWN, or more, for one that is not known."""
    played_at: Sequence[int]
    """Times of the listens [us since 1970 UTC], ascending."""
    played_fraction: Sequence[float]
    """Shares of the tracks that were heard."""


@torch.inference_mode()
def update(
    model: FSVAENetwork, states: Sequence[UserState], new: Sequence[NewListens], tables: SharedTables | None = None
) -> list[UserState]:
    """Return the states of some users after more listens: at most one step of each of the two LSTM states for each.

    The anchor before listen n is max(0, (n // L - 1) * L); from L listens after it, the next anchor's state is run too.

    Args:
        model: the model.
        states: the users' states so far.
        new: what they have heard since; at least one listen each.
        tables: everybody's counts, for a model with a memory.
    """
    inputs = [_inputs(model, state, listens) for state, listens in zip(states, new, strict=True)]
    ran = [
        _Running(x_MX, state.n_listens, state.current, state.following)
        for x_MX, state in zip(inputs, states, strict=True)
    ]
    while unread := [one for one in ran if len(one.x_MX)]:
        _run_on(model, unread)
    heard = [state.heard for state in states] if tables is None else _after([it.heard for it in states], new, tables)
    return [
        UserState(one.n, listens.played_at[-1], one.current, one.following, now)
        for one, listens, now in zip(ran, new, heard, strict=True)
    ]


def _inputs(model: FSVAENetwork, state: UserState, new: NewListens) -> Tensor:
    """Return the LSTM's inputs of a user's listens, [M, X]."""
    at = np.array(new.played_at, dtype=np.int64)
    previous = np.append(state.last_played_at, at[:-1])
    features = listen_features(at, previous, np.array(new.played_fraction, dtype=np.float32))
    return model.listen_inputs(torch.tensor(new.track), torch.from_numpy(features))


@dataclass
class _Running:
    """A user whose LSTM states read listens."""

    x_MX: Tensor
    """Inputs of the listens that are not read yet."""
    n: int
    """Number of listens that are read."""
    current: State
    following: State


def _run_on(model: FSVAENetwork, users: Sequence[_Running]) -> None:
    """Read at least one listen of each user, those of equally many together."""
    history = model.config.history
    of_length: dict[int, list[tuple[_Running, int]]] = {}
    for one in users:
        next_anchor = max(0, (one.n // history - 1) * history) + history
        until = next_anchor if one.n < next_anchor else next_anchor + history
        of_length.setdefault(min(len(one.x_MX), until - one.n), []).append((one, next_anchor))
    for length, together in of_length.items():
        both = [one for one, next_anchor in together if one.n >= next_anchor]
        x_BMX = torch.stack([one.x_MX[:length] for one, _ in together])
        read = _split(model.run(x_BMX, _joined([one.current for one, _ in together])))
        for (one, _), current in zip(together, read, strict=True):
            one.current = current
        if both:
            x_BMX = torch.stack([one.x_MX[:length] for one in both])
            for one, following in zip(
                both, _split(model.run(x_BMX, _joined([it.following for it in both]))), strict=True
            ):
                one.following = following
        for one, next_anchor in together:
            one.n, one.x_MX = one.n + length, one.x_MX[length:]
            if one.n == next_anchor + history:
                one.current, one.following = one.following, model.fast.zero_state(1)


def _joined(states: Sequence[State]) -> State:
    return torch.cat([h for h, _ in states], dim=1), torch.cat([c for _, c in states], dim=1)


def _split(state: State) -> list[State]:
    h, c = state
    # copies: a view would keep the states of all others in memory
    return [(h[:, place : place + 1].clone(), c[:, place : place + 1].clone()) for place in range(h.shape[1])]


def _after(heard: Sequence[Heard], new: Sequence[NewListens], tables: SharedTables) -> list[Heard]:
    """Return what some users remember after more listens."""
    tracks = [np.append(one.track, np.array(more.track, dtype=np.int32)) for one, more in zip(heard, new, strict=True)]
    times = [np.append(one.played_at, more.played_at) for one, more in zip(heard, new, strict=True)]
    listens = _listens(tracks, times)
    known = np.array([len(one.track) for one in heard])
    rows = in_runs(listens.offsets[:-1] + known, np.array([len(one.track) for one in new]))
    supports = Memory(listens, tables).supports(rows, np.zeros((len(rows), *NOTHING.records.shape)))
    total_NE, count_NE = supports.total_NE.numpy(), supports.count_NE.numpy()
    after, begin = [], 0
    for one, more, track, played_at in zip(heard, new, tracks, times, strict=True):
        records, end = one.records.copy(), begin + len(more.track)
        for sums, half_life in zip(records, RECORD_HALF_LIVES, strict=True):
            for total, count in zip(total_NE[begin:end], count_NE[begin:end], strict=True):
                add_to_record(sums, total, count, half_life)
        after.append(Heard(track, played_at, records))
        begin = end
    return after


def _listens(tracks: Sequence[NDArray[np.int32]], times: Sequence[NDArray[np.int64]]) -> Listens:
    """Return the listens of some users, given user by user."""
    joined = np.concatenate(tracks)
    offsets = offsets_of(np.array([len(one) for one in tracks]))
    return Listens(offsets, joined, np.concatenate(times), np.ones(len(joined), dtype=np.float32))


def _asking(heard: Sequence[Heard], at: Sequence[int], tables: SharedTables) -> tuple[Memory, Listens]:
    """Return the memory of some users, each with a listen to an unknown track at the end of the history."""
    listens = _listens(
        [np.append(one.track, np.int32(UNKNOWN)) for one in heard],
        [np.append(one.played_at, time) for one, time in zip(heard, at, strict=True)],
    )
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
