"""The states of users just before a listen, computed by the code that evaluates the model.

A state may be encoded from both sides, or from one alone: from the slow features without the recent listens, or the
other way round. The other side is then that of an unknown user, as in modality dropout. Every state reads the time of
its request, unless the model does not; states that are compared may share one request, so that they do not differ by
hour or weekday.

Shape suffixes: N states, Z latent, D track space, R request features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsvae.data.batches import one_pass
from fsvae.data.chunks import Batcher, Chunks, anchor
from fsvae.data.dataset import Dataset
from fsvae.data.listens import Listens
from fsvae.evaluation.latent_use import LatentUse
from fsvae.features.clock import DAY_US
from fsvae.features.fast import request_features
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.losses import kl_per_dimension
from fsvae.models.posterior import Posterior
from fsvae.models.prior import Prior
from fsvae.progress import Done


@dataclass(frozen=True)
class States:
    """The posteriors of N listens, each from the listens before it."""

    positions: NDArray[np.int64]
    """[N] flat positions of the listens."""
    mean_NZ: NDArray[np.float32]
    """[N, Z] means of the posteriors."""
    variance_NZ: NDArray[np.float32]
    """[N, Z] variances of the posteriors; 0 for a deterministic latent."""
    kl_NZ: NDArray[np.float32]
    """[N, Z] KL to the prior [nats]; 0 for a deterministic latent."""
    kl_of_mean_NZ: NDArray[np.float32]
    """[N, Z] part of the KL due to the mean [nats]; the rest is due to the variance, whatever the mean."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def use(self) -> LatentUse:
        """Return their use of each dimension."""
        return LatentUse(
            self.kl_NZ.mean(axis=0, dtype=np.float64),
            self.mean_NZ.var(axis=0, dtype=np.float64),
            self.variance_NZ.mean(axis=0, dtype=np.float64),
        )


@torch.inference_mode()
def encode(
    model: FSVAENetwork,
    dataset: Dataset,
    positions: NDArray[np.int64],
    slow: bool = True,
    fast: bool = True,
    request_R: NDArray[np.float32] | None = None,
    done: Done = lambda done, of: None,
) -> States:
    """Return the states before some listens.

    Args:
        model: a trained model, in evaluation mode.
        dataset: a dataset in the model's track space.
        positions: [N] flat positions, ascending.
        slow: read the slow features.
        fast: read the recent listens.
        request_R: request features that all of them read; None: each those of its listen.
        done: called with the progress.
    """
    assert (np.diff(positions) > 0).all(), "positions are ascending"
    begin = _anchors(dataset.listens, positions, model.history) if fast else positions
    start, first, size = np.unique(begin, return_index=True, return_counts=True)  # states of one anchor share a run
    chunks = Chunks(start, positions[first + size - 1] - start + 1, positions[first] - start)
    batcher = Batcher(dataset, chunks, catalogue_targets_only=False)
    mean_NZ = np.zeros((len(positions), model.config.latent_dim), dtype=np.float32)
    variance_NZ, kl_NZ, kl_of_mean_NZ = (np.zeros_like(mean_NZ) for _ in range(3))
    finished = 0
    for batch in one_pass(batcher):
        if not slow:
            batch = batch._replace(slow_SD=torch.zeros_like(batch.slow_SD))
        if request_R is not None:
            batch = batch._replace(request_BTR=torch.from_numpy(request_R).expand_as(batch.request_BTR))
        wanted = torch.from_numpy(np.isin(batch.listen_BT.numpy(), positions))
        batch = batch._replace(target_BT=batch.target_BT & wanted)
        row = np.searchsorted(positions, batch.listen_BT[batch.target_BT].numpy())
        prediction = model(batch)
        mean_NZ[row] = prediction.posterior.mean.numpy()
        kl_NZ[row] = kl_per_dimension(prediction.posterior, prediction.prior).numpy()
        if prediction.posterior.log_variance is not None:
            variance_NZ[row] = prediction.posterior.log_variance.exp().numpy()
            kl_of_mean_NZ[row] = _kl_of_mean(prediction.posterior, prediction.prior).numpy()
        finished += len(row)
        done(finished, len(positions))
    return States(positions, mean_NZ, variance_NZ, kl_NZ, kl_of_mean_NZ)


def _kl_of_mean(posterior: Posterior, prior: Prior | None) -> Tensor:
    """Return the KL of a posterior with the prior's variance, [N, Z].

    KL(N(m, v) || N(a, b)) = (m - a)^2 / 2b + (v/b - 1 - log v/b) / 2.
    """
    if prior is None:
        return 0.5 * posterior.mean**2
    return 0.5 * (posterior.mean - prior.mean) ** 2 * torch.exp(-prior.log_variance)


def _anchors(listens: Listens, positions: NDArray[np.int64], history: int) -> NDArray[np.int64]:
    """Return the flat position from which the fast state before each position is run."""
    within = listens.n_before[positions]
    return np.asarray(positions - within + anchor(within, history), dtype=np.int64)


def mean_request(listens: Listens, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of the request features of some listens, [R].

    The posterior's mean is linear in them: with their mean, a state is its average over the requests.
    """
    requests_NR = request_features(listens.played_at[positions], listens.previous_at[positions])
    return np.asarray(requests_NR.mean(axis=0, dtype=np.float64), dtype=np.float32)


def some_listens(dataset: Dataset, begin_us: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return the flat positions of at most `most` listens from a time on, drawn at random, ascending.

    Every user has one before any has two, and so on, so that a few heavy listeners do not fill a map.
    """
    since = np.flatnonzero(dataset.listens.played_at >= begin_us)
    since = np.random.default_rng(seed).permutation(since)
    since = since[np.argsort(dataset.listens.user[since], kind="stable")]
    user = dataset.listens.user[since]
    turn = np.arange(len(since)) - np.searchsorted(user, user)
    return np.sort(since[np.argsort(turn, kind="stable")][:most])


def most_active(dataset: Dataset, days: int, count: int) -> NDArray[np.int64]:
    """Return the users with most active days in the last `days`; of equals those with more listens, then the first."""
    recent = latest_days(dataset, np.arange(dataset.listens.n_users), days)
    user, day = dataset.listens.user[recent], dataset.listens.played_at[recent] // DAY_US
    active = np.unique(np.stack([user, day]), axis=1)[0]
    n = dataset.listens.n_users
    order = np.lexsort((np.arange(n), -np.bincount(user, minlength=n), -np.bincount(active, minlength=n)))
    return np.asarray(order[:count], dtype=np.int64)


def latest_days(dataset: Dataset, users: NDArray[np.int64], days: int) -> NDArray[np.int64]:
    """Return the flat positions of some users' listens in the last `days` of the dataset, ascending."""
    first = (dataset.manifest["as_of_day"] - days) * DAY_US
    listens = dataset.listens
    spans = [np.arange(listens.offsets[user], listens.offsets[user + 1]) for user in np.sort(users)]
    positions = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)
    return np.asarray(positions[listens.played_at[positions] >= first], dtype=np.int64)
