"""The neural baselines as recommenders; each network is in its own module."""

from __future__ import annotations

from fsvae.baselines.neural_recommender import NeuralRecommender


class LatentCross(NeuralRecommender):
    """A GRU whose state is gated by the context of the request (Beutel et al., WSDM 2018)."""

    kind = "latent_cross"


class JODIE(NeuralRecommender):
    """Two coupled RNNs and a user projected through time (Kumar, Zhang and Leskovec, KDD 2019)."""

    kind = "jodie"


class MultVAE(NeuralRecommender):
    """A VAE over the counts of all tracks heard (Liang et al., WWW 2018)."""

    kind = "mult_vae"


class GRU4Rec(NeuralRecommender):
    """A GRU over the tracks heard (Hidasi et al., ICLR 2016; Hidasi and Karatzoglou, CIKM 2018)."""

    kind = "gru4rec"


class SASRec(NeuralRecommender):
    """Causal self-attention over the tracks heard (Kang and McAuley, ICDM 2018)."""

    kind = "sasrec"
