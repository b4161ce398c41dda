"""FS-VAE: slow and fast encoders, a joint latent, a decoder into the track space (Fazelnia et al., WSDM 2022).

Shape suffixes: B histories, T positions, N targets, X inputs of the LSTM, H fast state, E slow encoding, Z latent,
D track space, F listen features, R request features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fsvae.data.chunks import ChunkBatch
from fsvae.errors import UserError
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES
from fsvae.models.decoders import Decoder
from fsvae.models.encoders import FastEncoder, SlowEncoder, State
from fsvae.models.latent import Latent, Posterior
from fsvae.models.losses import GaussianLikelihood, TrackSoftmax, kl_loss, kl_per_dimension
from fsvae.models.network import Network
from fsvae.recommender import Predictions


@dataclass
class ModelConfig:
    """What the model is made of."""

    history: int = 64
    """L: the fast state sees between L and 2 L of the latest listens."""
    use_slow: bool = True
    """Read the slow features."""
    use_fast: bool = True
    """Read the recent listens."""
    request_time: bool = True
    """Let the latent see the hour, the weekday and the pause at the time of the request."""
    slow_hidden: int = 256
    """Hidden units of the slow encoder."""
    slow_dim: int = 128
    """Size of the slow encoding."""
    fast_hidden: int = 128
    """Hidden units of the LSTM, the size of the fast state."""
    fast_layers: int = 2
    """Layers of the LSTM."""
    latent: str = "gaussian"
    """gaussian, or deterministic (a plain autoencoder)."""
    latent_dim: int = 64
    """Dimensions of the latent."""
    decoder_hidden: int = 256
    """Hidden units of the decoder."""
    softmax_weight: float = 0.0
    """Weight of a track softmax beside the Gaussian likelihood, which trains a query of its own; 0: as in the paper."""
    softmax_tracks: int = 1024
    """Tracks that the softmax is over: all, or as many drawn for each batch where the catalogue is larger."""
    beta: float = 0.02
    """Weight of the KL term once warmed up (paper: below 1). The likelihood is sharp, as its variance is learned."""
    beta_warmup_epochs: float = 2.0
    """Epochs over which beta rises from 0."""
    free_bits: float = 0.0
    """KL in nats that each latent dimension has for nothing."""
    initial_log_variance: float = -5.0
    """Where the posterior's log variance starts."""
    slow_dropout: float = 0.1
    """Share of training chunks in which the slow features are taken away."""
    fast_dropout: float = 0.05
    """Share of training chunks in which the recent listens are taken away."""


class Prediction(NamedTuple):
    """What the model says of N targets."""

    y_ND: Tensor
    """The expected track vectors."""
    query_ND: Tensor
    """What to search the nearest tracks of; the same as y_ND without a track softmax."""
    posterior: Posterior


class FSVAE(Network):
    """The model.

    Its track table holds the vectors of the catalogue, of the tracks that borrow one, and last a zero for all others.
    """

    tracks: Tensor

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
            vectors_VD: [V, D] vectors of the catalogue and, behind it, of tracks that borrow one.
            slow_mean: [slow features] means over the training period's snapshots.
            slow_std: likewise, standard deviations.
            n_catalogue: how many of the tracks, the first ones, are the catalogue; by default all.

        Raises:
            UserError: a switch has no such value, or both encoders are off.
        """
        super().__init__()
        if config.latent not in ("gaussian", "deterministic"):
            raise UserError(f"model.latent: '{config.latent}' is not one of gaussian, deterministic.")
        if not (config.use_slow or config.use_fast):
            raise UserError("model: use_slow and use_fast are both false; the model needs one of them.")
        self.config = config
        dim = vectors_VD.shape[1]
        self.n_catalogue = len(vectors_VD) if n_catalogue is None else n_catalogue
        self.register_buffer("tracks", torch.cat([vectors_VD, vectors_VD.new_zeros(1, dim)]))
        self.fast = FastEncoder(dim + 1 + len(LISTEN_FEATURES), config.fast_hidden, config.fast_layers)
        self.slow = SlowEncoder(slow_mean, slow_std, config.slow_hidden, config.slow_dim)
        joint = config.fast_hidden + config.slow_dim + len(REQUEST_FEATURES)
        self.latent = Latent(joint, config.latent_dim, config.latent == "gaussian", config.initial_log_variance)
        self.decoder = Decoder(config.latent_dim, config.decoder_hidden, dim, with_query=config.softmax_weight > 0)
        self.likelihood = GaussianLikelihood(dim)
        self.softmax = TrackSoftmax(config.softmax_tracks) if config.softmax_weight > 0 else None

    @property
    def history(self) -> int:
        """Return L: the fast state sees between L and 2 L of the latest listens."""
        return self.config.history

    @property
    def catalogue(self) -> Tensor:
        """Return the vectors of the tracks that can be recommended, [C, D]."""
        return self.tracks[: self.n_catalogue]

    def listen_inputs(self, track: Tensor, features: Tensor) -> Tensor:
        """Return the LSTM's inputs [..., X] for tracks [...] (int64) and their listen features [..., F]."""
        row = track.clamp(max=len(self.tracks) - 1)
        outside = (track >= self.n_catalogue).to(features.dtype)
        return torch.cat([self.tracks[row], outside[..., None], features], dim=-1)

    def predict(self, fast_NH: Tensor, slow_NE: Tensor, request_NR: Tensor, sample: bool = False) -> Prediction:
        """Predict the next track from the fast state, the slow encoding and the time of the request.

        With `sample`, z is drawn from the posterior; else it is the posterior's mean.
        """
        if not self.config.use_fast:
            fast_NH = torch.zeros_like(fast_NH)
        if not self.config.use_slow:
            slow_NE = torch.zeros_like(slow_NE)
        if not self.config.request_time:
            request_NR = torch.zeros_like(request_NR)
        posterior = self.latent(torch.cat([fast_NH, slow_NE, request_NR], dim=-1))
        y_ND, query_ND = self.decoder(posterior.sample() if sample else posterior.mean)
        return Prediction(y_ND, query_ND, posterior)

    def forward(self, batch: ChunkBatch, sample: bool = False) -> Prediction:
        """Predict the targets of a batch, in row-major order of target_BT.

        In training mode whole chunks lose their slow or fast side at random (modality dropout), so that the model
        can do with either.
        """
        before_BTH = self.fast.before(self.listen_inputs(batch.track_BT, batch.features_BTF))
        slow_SE = self.slow(batch.slow_SD)
        chunk_N, position_N = batch.target_BT.nonzero(as_tuple=True)
        # index_select's backward is a plain sum of rows, several times faster than that of general indexing
        flat_N = chunk_N * batch.track_BT.shape[1] + position_N
        fast_NH = before_BTH.flatten(0, 1).index_select(0, flat_N)
        slow_NE = slow_SE.index_select(0, batch.slow_index_BT[chunk_N, position_N])
        if self.training:
            chunks = len(batch.track_BT)
            keep_fast = torch.rand(chunks, device=fast_NH.device) >= self.config.fast_dropout
            keep_slow = torch.rand(chunks, device=fast_NH.device) >= self.config.slow_dropout
            fast_NH = fast_NH * keep_fast[chunk_N, None]
            slow_NE = slow_NE * keep_slow[chunk_N, None]
        return self.predict(fast_NH, slow_NE, batch.request_BTR[chunk_N, position_N], sample)

    def beta(self, epochs: float) -> float:
        """Return the weight of the KL term after some epochs of training: it rises over the first ones."""
        warmup = self.config.beta_warmup_epochs
        return self.config.beta * min(1.0, epochs / warmup if warmup > 0 else 1.0)

    def loss(self, batch: ChunkBatch, epochs: float) -> dict[str, Tensor]:
        """Return the `loss` -log p(y | z) + beta * KL, and its terms, as means over the batch's targets [nats]."""
        prediction = self(batch, sample=True)
        target_N = batch.track_BT[batch.target_BT]
        y_ND = self.tracks[target_N]
        targets = max(len(y_ND), 1)
        nll = self.likelihood(prediction.y_ND, y_ND).sum() / targets
        kl = kl_loss(kl_per_dimension(prediction.posterior), self.config.free_bits) if len(y_ND) else nll * 0
        beta = self.beta(epochs)
        loss = nll + beta * kl
        terms = {"nll": nll, "kl": kl, "beta": nll.new_tensor(beta)}
        if self.softmax is not None:
            terms["softmax"] = self.softmax(prediction.query_ND, target_N, self.catalogue).sum() / targets
            loss = loss + self.config.softmax_weight * terms["softmax"]
        return terms | {"loss": loss}

    def validate(self, batch: ChunkBatch) -> dict[str, Tensor]:
        """Return mean distances and loss terms of a batch with targets; z is the posterior's mean."""
        y_ND = self.tracks[batch.track_BT[batch.target_BT]]
        prediction = self(batch)
        return {
            "l2": (prediction.y_ND - y_ND).norm(dim=-1).mean(),
            "cosine": (1 - cosine_similarity(prediction.y_ND, y_ND, dim=-1)).mean(),
            "nll": self.likelihood(prediction.y_ND, y_ND).mean(),
            "kl": kl_per_dimension(prediction.posterior).sum(dim=-1).mean(),
        }

    @torch.inference_mode()
    def predictions(self, batch: ChunkBatch) -> Predictions:
        """Return the expected vectors and the queries of a batch's targets; z is the posterior's mean."""
        y_ND, query_ND, _ = self(batch)
        return Predictions(batch.listen_BT[batch.target_BT].numpy(), y_ND.numpy(), query_ND.numpy())

    def step(self, track_B: Tensor, features_BF: Tensor, state: State) -> State:
        """Return the fast state after one more listen."""
        return self.fast.step(self.listen_inputs(track_B, features_BF), state)
