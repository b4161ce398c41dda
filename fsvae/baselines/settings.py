"""Settings of the baselines, apart from the models, so that a configuration can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.errors import UserError
from fsvae.limits import Count, HalfLife, OneOf, Share, Size, Weight


@dataclass
class NoSettings:
    """Settings of a baseline that has none."""


@dataclass
class RecentPopularityConfig:
    """Speed at which popularity fades; 14 days have the highest MRR on the validation periods of both real logs."""

    half_life_days: HalfLife = 14.0
    """Days before the end of the training period at which a listen counts half."""


@dataclass
class AggregateSequenceConfig:
    """Settings of the aggregate sequence."""

    window: Size = 10
    """Number of the latest listens that are averaged."""


@dataclass
class MarkovConfig:
    """Weights of the blend; the defaults were chosen by MRR on the validation period of the Last.fm fragment (.472).

    Tried there one at a time: without each part (.431 to .464), half and double of each weight, half-lives of 2 to 20
    transitions and 20 to 300 listens, shrinkage of 0 to 5: none is better by more than .001. A chain of all users over
    the last two tracks made the blend worse (.455 with, .461 without, before the half-lives) and was left out.
    """

    global_weight: Weight = 1.0
    """Weight of the followers of the last track in the training period, for all users."""
    personal_weight: Weight = 1.0
    """Weight of the followers of the last track in the user's own history."""
    pair_weight: Weight = 1.0
    """Weight of the followers of the last two tracks in the user's own history."""
    frequency_weight: Weight = 1.0
    """Weight of the user's own listens."""
    transition_half_life: HalfLife = 2.0
    """Number of occurrences of a context after which a follower counts half."""
    frequency_half_life: HalfLife = 50.0
    """Number of listens after which a listen counts half."""
    shrinkage: Weight = 1.0
    """Number of counts at which a context has half of its weight: n counts have n / (n + shrinkage) of it."""


@dataclass
class ItemKNNConfig:
    """The neighbourhood; the defaults were chosen by NDCG@10 on the validation period of the Last.fm fragment (.325).

    Tried there one at a time: users (.288), 20 to 400 neighbours (.324 to .325), half-lives of 1 to 20 listens (.311 to
    .325).
    """

    together: Annotated[str, OneOf(("session", "user"))] = "session"
    """Span in which tracks are heard together: a session, or all listens of a user."""
    neighbours: Size = 100
    """Number of nearest tracks kept for each track; all others are at cosine 0."""
    half_life: HalfLife = 3.0
    """Number of listens after which a listen of the user counts half."""


@dataclass
class VSKNNConfig:
    """The neighbourhood, as large as in the earlier paper (Jannach and Ludewig, RecSys 2017).

    On the validation period of the Last.fm fragment 50 to 1000 neighbours, samples of 500 to 5000 and lengths of 5 to
    100 have an MRR of .245 to .254, the defaults .252.
    """

    neighbours: Size = 500
    """k: number of most similar sessions, which vote."""
    sample: Size = 1000
    """m: number of latest sessions that share a track, of which the most similar are chosen."""
    session_length: Size = 30
    """Number of latest listens of the present session that count."""


@dataclass
class SequenceConfig:
    """Settings that all neural baselines share."""

    history: Size = 128
    """L: a state sees between L and 2 L of the latest listens."""
    decoder_hidden: Annotated[int, Interval(ge=0, le=1_000_000)] = 256
    """Hidden units of the decoder; 0: a linear one."""
    softmax_weight: Weight = 20.0
    """Weight of a track softmax beside the Gaussian likelihood, which trains a separate query; 0: points only."""
    softmax_tracks: Annotated[Count, Interval(ge=2)] = 1024
    """Number of tracks in the softmax: all, or as many drawn for each batch where the catalogue is larger."""
    track_table: Annotated[str, OneOf(("frozen", "finetuned"))] = "finetuned"
    """Vectors that tracks are read as and searched in: frozen, or finetuned from the track space."""


@dataclass
class LatentCrossConfig(SequenceConfig):
    """Sizes of Latent Cross."""

    hidden: Size = 128
    """Units of the projected tracks and of the GRU."""
    slow_hidden: Size = 256
    """Hidden units between the slow features and their embedding."""
    dropout: Share = 0.1
    """Dropout of the states in training."""


@dataclass
class JODIEConfig(SequenceConfig):
    """Sizes of JODIE."""

    decoder_hidden: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    """Hidden units of the decoder; 0: a linear one, as in the paper."""
    hidden: Size = 128
    """Units of the dynamic embeddings."""


@dataclass
class MultVAEConfig(SequenceConfig):
    """Sizes of Mult-VAE."""

    hidden: Size = 256
    """Hidden units of the encoder."""
    latent_dim: Size = 64
    """Dimensions of the latent."""
    dropout: Share = 0.5
    """Share of a chunk's tracks that are dropped from its bags in training."""
    beta: Weight = 0.2
    """Weight of the KL term once it is annealed."""
    beta_warmup_epochs: Weight = 4.0
    """Epochs over which beta rises from 0."""
    initial_log_variance: Annotated[float, Interval(ge=-12.0, le=12.0)] = -5.0
    """Log variance of the posterior at the start of the training."""


@dataclass
class GRU4RecConfig(SequenceConfig):
    """Sizes of GRU4Rec."""

    hidden: Size = 128
    """Units of the GRU."""
    layers: Size = 1
    """Layers of the GRU."""
    dropout: Share = 0.1
    """Dropout of the inputs and of the states in training."""


@dataclass
class SASRecConfig(SequenceConfig):
    """Sizes of SASRec."""

    hidden: Size = 128
    """Units of each position; a multiple of `heads`."""
    blocks: Size = 2
    """Number of blocks, each of attention and a feed-forward part."""
    heads: Size = 2
    """Number of attention heads."""
    feedforward: Size = 256
    """Hidden units of the feed-forward part."""
    dropout: Share = 0.1
    """Dropout in training: of the inputs, the attention, and the output of each part."""

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together.

        Raises:
            UserError: `hidden` is not a multiple of `heads`.
        """
        if self.hidden % max(self.heads, 1):
            raise UserError(f"baselines.sasrec.hidden={self.hidden} is not a multiple of heads={self.heads}.")
