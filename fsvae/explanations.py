"""What recommendations rest on: the present mood, the long-term taste, the user's memory and everybody's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fsvae.models.fsvae import FSVAENetwork, Prediction
from fsvae.models.online_state import Found, UserState, predict
from fsvae.online_question import Shares


@dataclass(frozen=True)
class Explained:
    """What the recommendations for one question rest on."""

    shares: list[Shares]
    """Shares of each recommended track."""
    mood_from_taste: float
    """Cosine distance of what mood alone and taste alone expect next."""


def explain(
    model: FSVAENetwork, found: Found, state: UserState, slow_E: Tensor, at: int, tracks_K: NDArray[np.int64]
) -> Explained:
    """Return what K recommendations for one question rest on.

    The memory's parts are those of the mixture before it is ranked again. The network's part is divided between mood
    and taste by what either alone would give the track: its probability, or its likeness, if it is similar at all.

    Args:
        model: the model.
        found: what it predicts for the question alone.
        state: the user's state.
        slow_E: the user's slow encoding.
        at: time of the request [us].
        tracks_K: the recommended tracks.
    """
    h, c = state.current
    without_mood = replace(state, current=(torch.zeros_like(h), torch.zeros_like(c)))
    mood = predict(model, [state], torch.zeros_like(slow_E)[None], [at]).prediction
    taste = predict(model, [without_mood], slow_E[None], [at]).prediction
    of_mood, of_taste = (_network(model, side, tracks_K) for side in (mood, taste))
    either = of_mood + of_taste
    mood_share = np.divide(of_mood, either, out=np.full(len(tracks_K), 0.5), where=either > 0)
    own, shared, network = np.zeros(len(tracks_K)), np.zeros(len(tracks_K)), np.ones(len(tracks_K))
    if found.rows is not None and found.prediction.gates is not None:
        mixture = model.mixture(found.prediction, found.rows)
        own = found.rows.own_probabilities(found.prediction.gates)[0, tracks_K].clip(min=0)
        placed = tracks_K < mixture.of_network_NV.shape[1]
        network = np.where(placed, mixture.of_network_NV[0].numpy()[tracks_K * placed], 0.0)
        shared = (mixture.p_NT[0].numpy()[tracks_K] - own - network).clip(min=0)
    whole = own + shared + network
    parts = np.stack([network * mood_share, network * (1 - mood_share), own, shared]) / np.maximum(whole, 1e-30)
    return Explained(
        [Shares(*map(float, part)) for part in parts.T],
        1 - float(cosine_similarity(mood.y_ND[0], taste.y_ND[0], dim=0)),
    )


def _network(model: FSVAENetwork, prediction: Prediction, tracks_K: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the network alone gives some tracks, [K]; 0 without a vector."""
    scores_NV = (
        model.cosines(prediction.query_ND) if model.softmax is None else model.logits(prediction).softmax(dim=-1)
    )
    scores_V = scores_NV[0].numpy().astype(np.float64)
    placed = tracks_K < len(scores_V)
    return np.where(placed, scores_V[tracks_K * placed], 0.0).clip(min=0)
