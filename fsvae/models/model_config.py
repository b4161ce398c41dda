"""Settings of FS-VAE: its sizes, and the switches of its ablations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.errors import UserError
from fsvae.limits import Count, OneOf, Share, Size, Weight


@dataclass
class ModelConfig:
    """Sizes and switches of the model."""

    history: Annotated[int, Interval(ge=1, le=100_000)] = 128
    """L: the fast state sees between L and 2 L of the latest listens."""
    slow: bool = True
    """Read the slow features."""
    fast: Annotated[str, OneOf(("on", "off", "shuffled"))] = "on"
    """Recent listens: on, off, or shuffled (the paper's ablation: the same listens in random order)."""
    request_time: bool = True
    """Let the latent read the hour, the weekday and the pause at the time of the request."""
    slow_hidden: Size = 256
    """Hidden units of the slow encoder."""
    slow_dim: Size = 128
    """Size of the slow encoding."""
    fast_hidden: Size = 128
    """Hidden units of the LSTM, the size of the fast state."""
    fast_layers: Annotated[int, Interval(ge=1, le=100)] = 1
    """Layers of the LSTM (paper: 2)."""
    track_table: Annotated[str, OneOf(("frozen", "finetuned"))] = "finetuned"
    """Vectors that the LSTM reads and the softmax searches: frozen, or finetuned from the track space."""
    latent: Annotated[str, OneOf(("gaussian", "deterministic"))] = "gaussian"
    """Kind of latent: gaussian, or deterministic (a plain autoencoder)."""
    latent_dim: Size = 64
    """Dimensions of the latent."""
    prior: Annotated[str, OneOf(("standard", "slow"))] = "standard"
    """Prior p(z): standard normal, or given by the slow features, so that the KL measures mood against taste."""
    decoder_hidden: Size = 256
    """Hidden units of the decoder."""
    likelihood: Annotated[str, OneOf(("gaussian", "cosine", "track_softmax"))] = "gaussian"
    """Likelihood of the next track's vector: gaussian, cosine (von Mises-Fisher), or track_softmax (of the track)."""
    softmax_weight: Weight = 20.0
    """Weight of a track softmax beside the likelihood, which trains a query of its own; 0: as in the paper."""
    softmax_tracks: Annotated[Count, Interval(ge=2)] = 1024
    """Tracks that the softmax is over: all, or as many drawn for each batch where the catalogue is larger."""
    slow_memory: bool = True
    """Mix the track softmax with counts of what the user has heard, and after what, in the whole history."""
    fast_memory: bool = True
    """Mix it with counts of what the user has heard lately: in this session, in the latest listens, today."""
    shared_memory: bool = True
    """Mix it with counts of what everybody hears, and after what."""
    artist_memory: bool = True
    """Count by artist, too, in the memories that are on; it tells nothing where the log names no artists."""
    track_records: bool = True
    """Let the gates of the memory read how right each expert was with this user."""
    gate_hidden: Size = 128
    """Hidden units of the gates."""
    ranked: Annotated[int, Interval(ge=0, le=1_000)] = 100
    """Number of the most probable tracks that are ranked again by what the user did with each; 0: none."""
    ranker_hidden: Size = 128
    """Hidden units of the ranker."""
    beta: Weight = 0.02
    """Weight of the KL term once warmed up (paper: below 1). The likelihood is sharp, as its variance is learned."""
    beta_warmup_epochs: Weight = 2.0
    """Epochs over which beta rises from 0."""
    free_bits: Weight = 0.0
    """KL of each latent dimension that is not penalised [nats]."""
    initial_log_variance: Annotated[float, Interval(ge=-12.0, le=12.0)] = -5.0
    """Where the posterior's log variance starts."""
    slow_dropout: Share = 0.5
    """Share of training chunks in which the slow features are taken away."""
    fast_dropout: Share = 0.05
    """Share of training chunks in which the recent listens are dropped."""
    target_share: Annotated[float, Interval(ge=0.001, le=1.0)] = 1.0
    """Share of its targets that a training batch learns from, drawn anew each time. With fast=shuffled each target
    takes its own run of the LSTM."""

    def __post_init__(self) -> None:
        """Check switches together.

        Raises:
            UserError: a switch needs another one to be different.
        """
        if not self.slow and self.fast == "off" and not self.has_memory:
            raise UserError("model.slow and model.fast are both off: the model needs one of them, or a memory.")
        if self.prior == "slow" and not (self.slow and self.latent == "gaussian"):
            raise UserError("model.prior=slow needs model.slow=on and model.latent=gaussian.")
        if self.likelihood == "track_softmax" and self.softmax_weight > 0:
            raise UserError("model.likelihood=track_softmax is the softmax already: set model.softmax_weight=0.")
        if self.has_memory and not self.has_softmax:
            raise UserError(
                "model.slow_memory, model.fast_memory and model.shared_memory are mixed with the track softmax: set "
                "model.softmax_weight above 0, or model.likelihood=track_softmax."
            )

    @property
    def has_memory(self) -> bool:
        """Return whether the model has any memory."""
        return self.slow_memory or self.fast_memory or self.shared_memory

    def enabled_experts(self) -> list[bool]:
        """Return whether each expert and each age bucket is part of the model, [E + B]."""
        from fsvae.memory.contexts import AGE_PARTS, EXPERTS  # here, as settings are read without numpy

        parts = {"slow": self.slow_memory, "fast": self.fast_memory, "shared": self.shared_memory}
        of_experts = [parts[expert.part] and (self.artist_memory or not expert.of_artists) for expert in EXPERTS]
        return [*of_experts, *(parts[part] for part in AGE_PARTS)]

    @property
    def has_softmax(self) -> bool:
        """Return whether the model has a track softmax, as its likelihood or beside it."""
        return self.likelihood == "track_softmax" or self.softmax_weight > 0
