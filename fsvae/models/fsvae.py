"""FS-VAE: slow and fast encoders, a joint latent, a decoder into the track space (Fazelnia et al., WSDM 2022).

Shape suffixes: B histories, T positions, N targets, X inputs of the LSTM, H fast state, E slow encoding, Z latent,
D track space, V tracks with a vector, F listen features, R request features.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsvae.data.chunks import ChunkBatch
from fsvae.data.dataset import Dataset
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.limits import check
from fsvae.memory.contexts import EXPERTS
from fsvae.memory.gates import Gates, MemoryGates
from fsvae.memory.ranker import Ranker, Shortlist, shortlist_of
from fsvae.memory.rows import MemoryRows
from fsvae.memory.supports import Supports
from fsvae.models.base import Network, distances, warmed_up
from fsvae.models.decoders import Decoder
from fsvae.models.encoders import FastEncoder, SlowEncoder, State
from fsvae.models.losses import (
    CosineLikelihood,
    GaussianLikelihood,
    Likelihood,
    TrackSoftmax,
    kl_loss,
    kl_per_dimension,
)
from fsvae.models.model_config import ModelConfig
from fsvae.models.posterior import Latent, Posterior
from fsvae.models.prior import Prior, SlowPrior
from fsvae.models.shuffled import shuffled_states
from fsvae.models.slow_moments import slow_moments
from fsvae.predictions import Predictions

LEAST_P = 1e-12
"""Least probability of a target whose logarithm is taken: that of a track never heard before is 0."""


class Prediction(NamedTuple):
    """The predictions of the model for N targets."""

    y_ND: Tensor
    """Expected track vectors."""
    query_ND: Tensor
    """Queries whose nearest tracks are recommended; the same as y_ND without a track softmax."""
    posterior: Posterior
    prior: Prior | None
    """Prior p(z | s); None: the standard normal."""
    gates: Gates | None
    """Gates of the memory; None for a model without one."""


class Mixture(NamedTuple):
    """What memory and network expect together, before it is ranked again."""

    p_NT: Tensor
    """Probabilities of all tracks."""
    of_network_NV: Tensor
    """What the network adds to them, for tracks with a vector."""
    memory_NV: Tensor | None
    """What the memory alone adds to them, for tracks with a vector; None where it was not asked for."""


class FSVAENetwork(Network):
    """The FS-VAE model."""

    name = "FS-VAE"

    def __init__(
        self,
        config: ModelConfig,
        vectors_VD: Tensor,
        slow_mean: Tensor,
        slow_std: Tensor,
        n_catalogue: int | None = None,
    ) -> None:
        """Build the model around a track space.

        Args:
            config: sizes and switches.
            vectors_VD: [V, D] vectors of the catalogue and, after it, of tracks with an imputed one.
            slow_mean: [slow features] means over the training period's snapshots.
            slow_std: [slow features] standard deviations over the same snapshots.
            n_catalogue: number of tracks in the catalogue, the first ones; by default all.

        Raises:
            UserError: a setting is outside its limits, or two do not fit together.
        """
        check(config, "model.")
        finetuned = config.track_table == "finetuned"
        super().__init__(vectors_VD, len(vectors_VD) if n_catalogue is None else n_catalogue, finetuned)
        self.config = config
        self.unplaced = torch.zeros(0, dtype=torch.int64)
        """Tracks among those of the table that have no vector (`with_more_tracks`)."""
        dim = vectors_VD.shape[1]
        inputs = dim + 1 + len(LISTEN_FEATURES)
        self.fast = FastEncoder(inputs, config.fast_hidden, config.fast_layers)
        self.slow = SlowEncoder(slow_mean, slow_std, config.slow_hidden, config.slow_dim)
        joint = config.fast_hidden + config.slow_dim + len(REQUEST_FEATURES)
        self.latent = Latent(joint, config.latent_dim, config.latent == "gaussian", config.initial_log_variance)
        self.decoder = Decoder(config.latent_dim, config.decoder_hidden, dim, with_query=config.softmax_weight > 0)
        self.likelihood = _likelihood(config.likelihood, dim)
        self.softmax = TrackSoftmax(config.softmax_tracks) if config.has_softmax else None
        self.prior = SlowPrior(config.slow_dim, config.latent_dim) if config.prior == "slow" else None
        self.gates: MemoryGates | None = None
        self.ranker: Ranker | None = None
        if config.has_memory:
            enabled = config.enabled_experts()
            self.gates = MemoryGates(
                config.latent_dim, len(REQUEST_FEATURES), config.gate_hidden, enabled, config.track_records
            )
            if config.ranked:
                self.ranker = Ranker(self.gates.n_inputs, config.ranker_hidden, enabled[: len(EXPERTS)])

    @classmethod
    def for_dataset(cls, dataset: Dataset, config: ModelConfig) -> Self:
        """Return an untrained model for a dataset."""
        return cls(config, torch.from_numpy(dataset.vectors), *slow_moments(dataset), dataset.n_catalogue)

    @property
    def history(self) -> int:
        """Return L: the fast state sees between L and 2 L of the latest listens."""
        return self.config.history

    @property
    def has_memory(self) -> bool:
        """Return whether the model has any memory."""
        return self.config.has_memory

    @property
    def criterion(self) -> str:
        """Return the criterion of the best epoch: the loss of the track with a memory or without a distance, or it."""
        return "nll" if self.likelihood is None else "softmax" if self.gates is not None else "l2"

    def with_more_tracks(self, n_tracks: int, vectors_AD: Tensor, table_AD: Tensor) -> FSVAENetwork:
        """Return the same network with a place for all T tracks of a dataset, and for A more with a vector.

        Args:
            n_tracks: number of tracks of the dataset, T; those without a vector keep none.
            vectors_AD: unit vectors of those added, which are numbered from T on; zeros where nothing is known.
            table_AD: their rows of the table from which tracks are read.
        """
        more = copy(self)
        more._buffers, more._parameters = dict(self._buffers), dict(self._parameters)
        more._unit_table = None
        placed = len(self.tracks) - 1
        added = n_tracks + (vectors_AD == 0).all(dim=1).nonzero()[:, 0]
        more.unplaced = torch.cat([torch.arange(placed, n_tracks), added])

        def grown(rows_VD: Tensor, added_AD: Tensor) -> Tensor:
            """Tracks without a vector are read as all others are: from the last row."""
            added_AD = torch.where((vectors_AD == 0).all(dim=1, keepdim=True), rows_VD[-1:], added_AD)
            return torch.cat([rows_VD[:-1], rows_VD[-1:].expand(n_tracks - placed, -1), added_AD, rows_VD[-1:]])

        more.tracks = grown(self.tracks, vectors_AD)
        if self.table is not None:
            more.table = torch.nn.Parameter(grown(self.table.detach(), table_AD), requires_grad=False)
        return more

    def listen_inputs(self, track: Tensor, features: Tensor) -> Tensor:
        """Return the LSTM's inputs [..., X] for tracks [...] (int64) and their listen features [..., F]."""
        return torch.cat([self.heard(track), features], dim=-1)

    def predict(
        self,
        fast_NH: Tensor,
        slow_NE: Tensor,
        request_NR: Tensor,
        supports: Supports | None = None,
        sample: bool = False,
        noise_NZ: Tensor | None = None,
    ) -> Prediction:
        """Predict the next track from the fast state, the slow encoding, the time of the request and the memory.

        With `sample`, z is drawn from the posterior; with noise, it is so many standard deviations from its mean;
        otherwise it is the mean.
        """
        if self.config.fast == "off":
            fast_NH = torch.zeros_like(fast_NH)
        if not self.config.slow:
            slow_NE = torch.zeros_like(slow_NE)
        if not self.config.request_time:
            request_NR = torch.zeros_like(request_NR)
        posterior = self.latent(torch.cat([fast_NH, slow_NE, request_NR], dim=-1))
        z_NZ = posterior.sample() if sample else posterior.mean
        if noise_NZ is not None and posterior.log_variance is not None:
            z_NZ = z_NZ + torch.exp(0.5 * posterior.log_variance) * noise_NZ
        point_ND, query_ND = self.decoder(z_NZ)
        y_ND = normalize(point_ND, dim=-1) if self.likelihood is None else self.likelihood.expected(point_ND)
        query_ND = y_ND if query_ND is point_ND else query_ND
        return Prediction(
            y_ND=y_ND,
            query_ND=query_ND,
            posterior=posterior,
            prior=None if self.prior is None else self.prior(slow_NE),
            gates=None if self.gates is None or supports is None else self.gates(z_NZ, request_NR, supports),
        )

    def forward(self, batch: ChunkBatch, sample: bool = False) -> Prediction:
        """Predict the targets of a batch, in row-major order of target_BT.

        In training mode whole chunks lose their slow or fast side at random (modality dropout), so that the model
        learns to use either alone; a model with a single side keeps it.
        """
        x_BTX = self.listen_inputs(batch.track_BT, batch.features_BTF)
        slow_SE = self.slow(batch.slow_SD)
        chunk_N, position_N = batch.target_BT.nonzero(as_tuple=True)
        fast_NH = self._fast_states(x_BTX, chunk_N, position_N)
        slow_NE = slow_SE.index_select(0, batch.slow_index_BT[chunk_N, position_N])
        if self.training and self.config.slow and self.config.fast != "off":
            chunks = len(batch.track_BT)
            keep_fast = torch.rand(chunks, device=fast_NH.device) >= self.config.fast_dropout
            keep_slow = torch.rand(chunks, device=fast_NH.device) >= self.config.slow_dropout
            fast_NH = fast_NH * keep_fast[chunk_N, None]
            slow_NE = slow_NE * keep_slow[chunk_N, None]
        return self.predict(fast_NH, slow_NE, batch.request_BTR[chunk_N, position_N], batch.memory, sample)

    def _fast_states(self, x_BTX: Tensor, chunk_N: Tensor, position_N: Tensor) -> Tensor:
        """Return the fast state before each target, [N, H]."""
        if self.config.fast == "off":
            return x_BTX.new_zeros(len(chunk_N), self.fast.dim)
        if self.config.fast == "shuffled":
            return shuffled_states(self.fast, x_BTX, chunk_N, position_N, at_random=self.training)
        # index_select's backward is a plain sum of rows, several times faster than that of general indexing
        flat_N = chunk_N * x_BTX.shape[1] + position_N
        return self.fast.before(x_BTX).flatten(0, 1).index_select(0, flat_N)

    def scores(
        self, prediction: Prediction, supports: Supports | None = None, rows: MemoryRows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the scores of tracks, [N, T], and the expected track vectors, [N, D].

        Scores are probabilities of all tracks for a model with a memory, which needs `supports` and `rows`; otherwise
        cosines of those with a vector.
        """
        if prediction.gates is None:
            return self.cosines(prediction.query_ND), prediction.y_ND
        assert rows is not None and supports is not None, "a model with a memory is given what it held"
        mixture = self.mixture(prediction, rows, with_memory=True)
        assert mixture.memory_NV is not None, "it was asked for"
        p_NT = mixture.p_NT
        point_ND = mixture.memory_NV @ self.tracks[:-1] + prediction.gates.rest_N[:, None] * prediction.y_ND
        if self.ranker is not None:
            found, ranked_NK = self.ranked(mixture, prediction, supports, rows)
            vectors_NKD = self.tracks[found.track_NK.clamp(max=len(self.tracks) - 1)]
            point_ND = point_ND + ((ranked_NK - found.p_NK)[:, None] @ vectors_NKD)[:, 0]
            p_NT.scatter_(1, found.track_NK, ranked_NK)
        return p_NT, point_ND

    def track_scores(
        self, prediction: Prediction, supports: Supports | None = None, rows: MemoryRows | None = None
    ) -> Tensor:
        """Return the scores of `scores` alone, [N, T]."""
        if prediction.gates is None:
            return self.cosines(prediction.query_ND)
        assert rows is not None and supports is not None, "a model with a memory is given what it held"
        mixture = self.mixture(prediction, rows)
        if self.ranker is not None:
            found, ranked_NK = self.ranked(mixture, prediction, supports, rows)
            mixture.p_NT.scatter_(1, found.track_NK, ranked_NK)
        return mixture.p_NT

    def ranked(
        self, mixture: Mixture, prediction: Prediction, supports: Supports, rows: MemoryRows
    ) -> tuple[Shortlist, Tensor]:
        """Return the most probable tracks of a mixture, and their probabilities when they are ranked again, [N, K]."""
        assert self.ranker is not None and prediction.gates is not None, "the model has a ranker"
        found = self.shortlist(mixture, supports, rows)
        return found, self.ranker.ranked(found, prediction.gates.inputs_NS)

    def mixture(
        self, prediction: Prediction, rows: MemoryRows, new_V: Tensor | None = None, with_memory: bool = False
    ) -> Mixture:
        """Return the mixture of memory and network before some targets; `new_V` get nothing from the network."""
        assert prediction.gates is not None
        p_NT = torch.from_numpy(rows.probabilities(prediction.gates))
        memory_NV = p_NT[:, : len(self.tracks) - 1].clone() if with_memory else None
        of_network_NV = self.logits(prediction).softmax(dim=-1).mul_(prediction.gates.rest_N[:, None])
        if new_V is not None:
            of_network_NV.masked_fill_(new_V, 0.0)
        p_NT[:, : of_network_NV.shape[1]] += of_network_NV
        return Mixture(p_NT, of_network_NV, memory_NV)

    def shortlist(self, mixture: Mixture, supports: Supports, rows: MemoryRows) -> Shortlist:
        """Return the most probable tracks of a mixture, which are ranked again."""
        return shortlist_of(mixture.p_NT, mixture.of_network_NV, supports, rows, self.tracks, self.config.ranked)

    def logits(self, prediction: Prediction) -> Tensor:
        """Return the logits of the track softmax, [N, V]."""
        assert self.softmax is not None, "the model has a track softmax"
        logits_NV = self.cosines(prediction.query_ND).mul_(self.softmax.log_scale.exp())
        return logits_NV.index_fill_(1, self.unplaced, -torch.inf) if len(self.unplaced) else logits_NV

    def softmax_of(self, prediction: Prediction, target_N: Tensor, supports: Supports) -> Tensor:
        """Return each target's probability by the track softmax alone, [N]; 0 without a vector, or if it is new."""
        logits_NV = self.logits(prediction)
        placed_N = (target_N < logits_NV.shape[1]) & ~supports.is_new
        of_target_N = logits_NV.gather(1, target_N.clamp(max=logits_NV.shape[1] - 1)[:, None])[:, 0]
        return (of_target_N - logits_NV.logsumexp(dim=1)).exp() * placed_N

    def beta(self, epochs: float) -> float:
        """Return the weight of the KL term after some epochs of training: it rises from 0 over the first ones."""
        return warmed_up(self.config.beta, epochs, self.config.beta_warmup_epochs)

    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` -log p(y | z) + beta * KL, and its terms, as means over the batch's targets [nats]."""
        if self.config.target_share < 1:
            batch = batch.of_targets(
                torch.rand(batch.target_BT.shape, device=batch.target_BT.device) < self.config.target_share
            )
        prediction = self(batch, sample=True)
        target_N = batch.track_BT[batch.target_BT]
        terms = {name: _mean(nll_N) for name, nll_N in self._negative_logs(prediction, target_N, batch.memory).items()}
        loss = terms["nll"]
        kl_NZ = kl_per_dimension(prediction.posterior, prediction.prior)
        kl = kl_loss(kl_NZ, self.config.free_bits) if len(target_N) else loss * 0
        beta = self.beta(epochs)
        loss = loss + beta * kl
        if "softmax" in terms:
            loss = loss + self.config.softmax_weight * terms["softmax"]
        return terms | {"kl": kl, "beta": kl.new_tensor(beta), "loss": loss}

    def _negative_logs(self, prediction: Prediction, target_N: Tensor, supports: Supports | None) -> dict[str, Tensor]:
        """Return the `nll` of each target with a trained vector, and the loss of a `softmax` beside the likelihood.

        That is of each target with a vector; with a memory, of every target.
        """
        found = {}
        if self.likelihood is not None:
            inside_N = target_N < self.n_catalogue
            found["nll"] = self.likelihood(prediction.y_ND[inside_N], self.tracks[target_N[inside_N]])
        if self.softmax is not None:
            table_VD = self.track_table[:-1]
            placed_N = target_N < len(table_VD)
            if self.training and supports is not None:
                placed_N = placed_N & ~supports.is_new
            softmax_N = self.softmax(prediction.query_ND, target_N.clamp(max=len(table_VD) - 1), table_VD)
            if prediction.gates is not None and supports is not None:
                of_network_N = prediction.gates.rest_N * (-softmax_N).exp() * placed_N
                p_N = prediction.gates.of_target(supports) + of_network_N
                softmax_N = -p_N.clamp(min=LEAST_P).log()
            else:
                softmax_N = softmax_N[placed_N]
            found["nll" if self.likelihood is None else "softmax"] = softmax_N
        return found

    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return distances and loss terms of a batch's targets that have them; z is the posterior's mean."""
        target_N = batch.track_BT[batch.target_BT]
        prediction = self(batch)
        inside_N = target_N < self.n_catalogue
        return {
            **distances(prediction.y_ND[inside_N], self.tracks[target_N[inside_N]]),
            "kl": kl_per_dimension(prediction.posterior, prediction.prior).sum(dim=-1),
            **self._negative_logs(prediction, target_N, batch.memory),
        }

    @property
    def n_scored(self) -> int:
        """Return the number of tracks that `predictions` scores; 0 where it is searched by nearness."""
        return super().n_scored if self.gates is None else len(self.tracks) - 1

    @torch.inference_mode()
    def predictions(self, batch: ChunkBatch, rows: MemoryRows | None = None) -> Predictions:
        """Return the expected vectors of a batch's targets and the ranking of the tracks; z is the posterior's mean.

        The uncertainty is the mean standard deviation of the posterior, as in serving. A model with a memory needs the
        `rows` of the targets.
        """
        prediction = self(batch)
        spread_N = None
        if prediction.posterior.log_variance is not None:
            spread_N = torch.exp(0.5 * prediction.posterior.log_variance).mean(dim=-1).numpy()
        targets = batch.listen_BT[batch.target_BT].numpy()
        if not self.n_scored:
            return Predictions(targets, prediction.y_ND.numpy(), prediction.query_ND.numpy(), uncertainty=spread_N)
        scores, vectors = self.scores(prediction, batch.memory, rows)
        return Predictions(
            targets, vectors.numpy(), scores=scores.numpy(), uncertainty=spread_N, normalised=self.has_memory
        )

    def run(self, x_BMX: Tensor, state: State) -> State:
        """Return the fast states of B users after M more listens of each, given as the LSTM's inputs."""
        _, (h, c) = self.fast.lstm(x_BMX, state)
        return h, c


def _mean(figure_N: Tensor) -> Tensor:
    """Return the mean, 0 over no target."""
    return figure_N.sum() / max(len(figure_N), 1)


def _likelihood(name: str, dim: int) -> Likelihood | None:
    """Return the likelihood of the next track's vector; None where the track softmax is the likelihood."""
    if name == "track_softmax":
        return None
    return CosineLikelihood(dim) if name == "cosine" else GaussianLikelihood(dim)
