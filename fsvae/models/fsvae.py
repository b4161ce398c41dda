"""FS-VAE: slow and fast encoders, a joint latent, a decoder into the track space (Fazelnia et al., WSDM 2022).

Shape suffixes: B histories, T positions, N targets, X inputs of the LSTM, H fast state, E slow encoding, Z latent,
D track space, V tracks with a vector, F listen features, R request features.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsvae.data.chunks import ChunkBatch
from fsvae.data.dataset import Dataset
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.limits import check
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
from fsvae.models.pointer import Past, Repeat, RepeatHead, mixture_loss, mixture_mean, mixture_scores
from fsvae.models.posterior import Latent, Posterior
from fsvae.models.prior import Prior, SlowPrior
from fsvae.models.shuffled import shuffled_states
from fsvae.models.slow_moments import slow_moments
from fsvae.predictions import Predictions


class Prediction(NamedTuple):
    """The predictions of the model for N targets."""

    y_ND: Tensor
    """Expected track vectors."""
    query_ND: Tensor
    """Queries whose nearest tracks are recommended; the same as y_ND without a track softmax."""
    posterior: Posterior
    prior: Prior | None
    """Prior p(z | s); None: the standard normal."""
    repeat: Repeat | None
    """Output of the repeat head; None for a model without one."""


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
        self.repeat_head: RepeatHead | None = None
        if config.repeat_head:
            self.repeat_head = RepeatHead(config.latent_dim, inputs, config.repeat_dim, config.history)

    @classmethod
    def for_dataset(cls, dataset: Dataset, config: ModelConfig) -> Self:
        """Return an untrained model for a dataset."""
        return cls(config, torch.from_numpy(dataset.vectors), *slow_moments(dataset), dataset.n_catalogue)

    @property
    def history(self) -> int:
        """Return L: the fast state sees between L and 2 L of the latest listens."""
        return self.config.history

    @property
    def criterion(self) -> str:
        """Return the criterion of the best epoch: the distance, or the loss of a model that learns no distance."""
        return "nll" if self.likelihood is None else "l2"

    def listen_inputs(self, track: Tensor, features: Tensor) -> Tensor:
        """Return the LSTM's inputs [..., X] for tracks [...] (int64) and their listen features [..., F]."""
        return torch.cat([self.heard(track), features], dim=-1)

    def past(self, x_BTX: Tensor, track_BT: Tensor, history_N: Tensor, position_N: Tensor) -> Past | None:
        """Return the past of a repeat head before position_N of history_N, for listens `x_BTX`.

        None for a model without one.
        """
        if self.repeat_head is None:
            return None
        vector_BTD = self.tracks[track_BT.clamp(max=len(self.tracks) - 1)]
        return Past(x_BTX, track_BT < self.n_catalogue, track_BT, vector_BTD, history_N, position_N)

    def predict(
        self, fast_NH: Tensor, slow_NE: Tensor, request_NR: Tensor, past: Past | None = None, sample: bool = False
    ) -> Prediction:
        """Predict the next track from the fast state, the slow encoding and the time of the request.

        A repeat head reads `past`. With `sample`, z is drawn from the posterior; otherwise it is its mean.
        """
        if self.config.fast == "off":
            fast_NH = torch.zeros_like(fast_NH)
        if not self.config.slow:
            slow_NE = torch.zeros_like(slow_NE)
        if not self.config.request_time:
            request_NR = torch.zeros_like(request_NR)
        posterior = self.latent(torch.cat([fast_NH, slow_NE, request_NR], dim=-1))
        z_NZ = posterior.sample() if sample else posterior.mean
        point_ND, query_ND = self.decoder(z_NZ)
        y_ND = normalize(point_ND, dim=-1) if self.likelihood is None else self.likelihood.expected(point_ND)
        query_ND = y_ND if query_ND is point_ND else query_ND
        repeat = None if self.repeat_head is None or past is None else self.repeat_head(z_NZ, past)
        return Prediction(
            y_ND=y_ND if repeat is None else mixture_mean(y_ND, repeat),
            query_ND=query_ND,
            posterior=posterior,
            prior=None if self.prior is None else self.prior(slow_NE),
            repeat=repeat,
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
        past = self.past(x_BTX, batch.track_BT, chunk_N, position_N)
        if self.training and self.config.slow and self.config.fast != "off":
            chunks = len(batch.track_BT)
            keep_fast = torch.rand(chunks, device=fast_NH.device) >= self.config.fast_dropout
            keep_slow = torch.rand(chunks, device=fast_NH.device) >= self.config.slow_dropout
            fast_NH = fast_NH * keep_fast[chunk_N, None]
            slow_NE = slow_NE * keep_slow[chunk_N, None]
            if past is not None:
                past = past._replace(allowed_BT=past.allowed_BT & keep_fast[:, None])
        return self.predict(fast_NH, slow_NE, batch.request_BTR[chunk_N, position_N], past, sample)

    def _fast_states(self, x_BTX: Tensor, chunk_N: Tensor, position_N: Tensor) -> Tensor:
        """Return the fast state before each target, [N, H]."""
        if self.config.fast == "off":
            return x_BTX.new_zeros(len(chunk_N), self.fast.dim)
        if self.config.fast == "shuffled":
            return shuffled_states(self.fast, x_BTX, chunk_N, position_N, at_random=self.training)
        # index_select's backward is a plain sum of rows, several times faster than that of general indexing
        flat_N = chunk_N * x_BTX.shape[1] + position_N
        return self.fast.before(x_BTX).flatten(0, 1).index_select(0, flat_N)

    def scores(self, prediction: Prediction, table_VD: Tensor) -> Tensor:
        """Return the scores of the tracks of `search_table`, [N, V]: cosines, or log probabilities of a mixture.

        Without a repeat head or a finetuned track table, nearness to the query in the track space ranks alike.
        """
        cosine_NV = normalize(prediction.query_ND, dim=-1) @ table_VD.T
        if prediction.repeat is None:
            return cosine_NV
        assert self.softmax is not None
        return mixture_scores((self.softmax.log_scale.exp() * cosine_NV).log_softmax(dim=-1), prediction.repeat)

    def beta(self, epochs: float) -> float:
        """Return the weight of the KL term after some epochs of training: it rises from 0 over the first ones."""
        return warmed_up(self.config.beta, epochs, self.config.beta_warmup_epochs)

    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` -log p(y | z) + beta * KL, and its terms, as means over the batch's targets [nats]."""
        if self.config.target_share < 1:
            drawn_BT = torch.rand(batch.target_BT.shape, device=batch.target_BT.device) < self.config.target_share
            batch = batch._replace(target_BT=batch.target_BT & drawn_BT)
        prediction = self(batch, sample=True)
        target_N = batch.track_BT[batch.target_BT]
        targets = max(len(target_N), 1)
        terms = {name: nll_N.sum() / targets for name, nll_N in self._negative_logs(prediction, target_N).items()}
        loss = terms["nll"]
        kl_NZ = kl_per_dimension(prediction.posterior, prediction.prior)
        kl = kl_loss(kl_NZ, self.config.free_bits) if len(target_N) else loss * 0
        beta = self.beta(epochs)
        loss = loss + beta * kl
        if "softmax" in terms:
            loss = loss + self.config.softmax_weight * terms["softmax"]
        return terms | {"kl": kl, "beta": kl.new_tensor(beta), "loss": loss}

    def _negative_logs(self, prediction: Prediction, target_N: Tensor) -> dict[str, Tensor]:
        """Return the `nll` of each target, [N], and the loss of a `softmax` beside the likelihood."""
        found = {}
        if self.likelihood is not None:
            found["nll"] = self.likelihood(prediction.y_ND, self.tracks[target_N])
        if self.softmax is not None:
            softmax_N = self.softmax(prediction.query_ND, target_N, self.track_table[: self.n_catalogue])
            if prediction.repeat is not None:
                softmax_N = mixture_loss(softmax_N, prediction.repeat, target_N)
            found["nll" if self.likelihood is None else "softmax"] = softmax_N
        return found

    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return mean distances and loss terms of a batch with targets; z is the posterior's mean."""
        target_N = batch.track_BT[batch.target_BT]
        prediction = self(batch)
        figures = {
            **distances(prediction.y_ND, self.tracks[target_N]),
            "kl": kl_per_dimension(prediction.posterior, prediction.prior).sum(dim=-1),
            **self._negative_logs(prediction, target_N),
        }
        return {name: figure_N.mean() for name, figure_N in figures.items()}

    @property
    def n_scored(self) -> int:
        """Return the number of tracks with a vector, or 0 where they are searched by nearness in the track space."""
        return super().n_scored if self.repeat_head is None else len(self.tracks) - 1

    @torch.inference_mode()
    def predictions(self, batch: ChunkBatch) -> Predictions:
        """Return the expected vectors of a batch's targets and the ranking of the tracks; z is the posterior's mean.

        The uncertainty is the mean standard deviation of the posterior, as in serving.
        """
        prediction = self(batch)
        spread_N = None
        if prediction.posterior.log_variance is not None:
            spread_N = torch.exp(0.5 * prediction.posterior.log_variance).mean(dim=-1).numpy()
        return Predictions(
            batch.listen_BT[batch.target_BT].numpy(),
            prediction.y_ND.numpy(),
            queries=None if self.n_scored else prediction.query_ND.numpy(),
            scores=self.scores(prediction, self.search_table).numpy() if self.n_scored else None,
            uncertainty=spread_N,
        )

    def step(self, track_B: Tensor, features_BF: Tensor, state: State) -> State:
        """Return the fast state after one more listen."""
        return self.fast.step(self.listen_inputs(track_B, features_BF), state)


def _likelihood(name: str, dim: int) -> Likelihood | None:
    """Return the likelihood of the next track's vector; None where the track softmax is the likelihood."""
    if name == "track_softmax":
        return None
    return CosineLikelihood(dim) if name == "cosine" else GaussianLikelihood(dim)
