"""Anomalies: listens and users that the model did not expect, by reconstruction error.

The reconstruction error of a listen is -log p(y | z) at the mean of the state before it, in nats: the likelihood that
the model is trained with, over the whole catalogue where that is a softmax. It is comparable between listens of one
model, not between models.

Shape suffixes: N targets, C catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, evaluation_chunks
from fsvae.data.dataset import Dataset
from fsvae.models.fsvae import FSVAENetwork, Prediction
from fsvae.progress import Done


@dataclass(frozen=True)
class ReconstructionErrors:
    """The reconstruction errors of listens."""

    positions: NDArray[np.int64]
    """[N] flat positions of listens to tracks of the catalogue, ascending; other tracks have no vector."""
    nll: NDArray[np.float64]
    """[N] -log p(y | z) [nats]."""


@torch.inference_mode()
def reconstruction_errors(
    model: FSVAENetwork, dataset: Dataset, begin_us: int, end_us: int, done: Done = lambda done, of: None
) -> ReconstructionErrors:
    """Return the reconstruction errors of the listens in [begin_us, end_us), in one pass over the histories."""
    chunks = evaluation_chunks(dataset.listens, begin_us, end_us, model.history)
    batcher = Batcher(dataset, chunks, catalogue_targets_only=True)
    positions, nll = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    finished, of = 0, int((chunks.length - chunks.first_target).sum())
    for batch in one_pass(batcher, n_scored=len(model.search_table) if model.likelihood is None else 0):
        target_N = batch.track_BT[batch.target_BT]
        positions.append(batch.listen_BT[batch.target_BT].numpy())
        nll.append(_reconstruction_error(model, model(batch), target_N).numpy().astype(np.float64))
        finished += len(target_N)
        done(finished, of)
    at = np.concatenate(positions)
    order = np.argsort(at)
    return ReconstructionErrors(at[order], np.concatenate(nll)[order])


def _reconstruction_error(model: FSVAENetwork, prediction: Prediction, target_N: Tensor) -> Tensor:
    """Return -log p(y | z) of each target, [N]."""
    if model.likelihood is not None:
        nll_N: Tensor = model.likelihood(prediction.y_ND, model.tracks[target_N])
        return nll_N
    return cross_entropy(model.logits(prediction), target_N, reduction="none")


@dataclass(frozen=True)
class Anomalies:
    """Users by anomaly score, the highest first."""

    user: NDArray[np.int64]
    """[U] index of each user."""
    nll: NDArray[np.float64]
    """[U] mean reconstruction error of the latest listens [nats]."""
    listens: NDArray[np.int64]
    """[U] number of those listens."""
    score: NDArray[np.float64]
    """[U] `nll` above that of the median user, in robust standard deviations (1.4826 times the median deviation)."""


def anomalies(user_N: NDArray[np.int64], nll_N: NDArray[np.float64], latest: int, least: int) -> Anomalies:
    """Return the users by the mean reconstruction error of their latest listens.

    Args:
        user_N: user of each listen, ascending, the listens of a user in order of time.
        nll_N: its reconstruction error.
        latest: number of a user's last listens that count.
        least: least number of listens; users with fewer are left out, as the mean of a few is mostly noise.
    """
    users, count = np.unique(user_N, return_counts=True)
    from_end = np.repeat(np.cumsum(count), count) - np.arange(len(user_N))
    counts = from_end <= latest
    row = np.repeat(np.arange(len(users)), count)
    mean = np.bincount(row[counts], nll_N[counts], minlength=len(users)) / np.minimum(count, latest)
    users, mean, count = users[count >= least], mean[count >= least], np.minimum(count, latest)[count >= least]
    if len(users) == 0:
        return Anomalies(users, mean, count, mean)
    deviation = 1.4826 * float(np.median(np.abs(mean - np.median(mean))))
    score = (mean - np.median(mean)) / max(deviation, 1e-12)
    order = np.argsort(-mean, kind="stable")
    return Anomalies(users[order], mean[order], count[order], score[order])
