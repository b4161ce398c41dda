"""What is particular to each neural baseline, worked out by hand on a few weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsvae.baselines.gru4rec import GRU4RecConfig, GRU4RecNetwork
from fsvae.baselines.jodie import JODIEConfig, JODIENetwork
from fsvae.baselines.latent_cross import LatentCrossConfig, LatentCrossNetwork
from fsvae.baselines.mult_vae import MultVAEConfig, MultVAENetwork
from fsvae.baselines.sasrec import SASRecConfig, SASRecNetwork
from fsvae.baselines.sequence import SequenceNetwork
from fsvae.data.chunks import ChunkBatch
from fsvae.errors import UserError
from fsvae.features.fast import LISTEN_FEATURES, REQUEST_FEATURES

VECTORS = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
OUTSIDE = 3


def listens(track: Sequence[int], **columns: Sequence[float]) -> ChunkBatch:
    """One chunk; `gap` is that of each listen, `hour` the sine of each request's, all else is 0; nobody is known."""
    n = len(track)
    features, request = torch.zeros(1, n, len(LISTEN_FEATURES)), torch.zeros(1, n, len(REQUEST_FEATURES))
    if "gap" in columns:
        features[0, :, 0] = request[0, :, 0] = torch.tensor(columns["gap"])
    if "hour" in columns:
        request[0, :, REQUEST_FEATURES.index("hour_sin")] = torch.tensor(columns["hour"])
    return ChunkBatch(
        track_BT=torch.tensor([track]),
        features_BTF=features,
        request_BTR=request,
        slow_SD=torch.zeros(1, 3),
        slow_index_BT=torch.zeros(1, n, dtype=torch.int64),
        target_BT=torch.ones(1, n, dtype=torch.bool),
        listen_BT=torch.arange(n)[None],
    )


def zeroed(network: SequenceNetwork) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "table":
                parameter.zero_()
    network.eval()


@torch.no_grad()
def put(parameter: Tensor, values: object) -> None:
    parameter.copy_(torch.tensor(values).reshape(parameter.shape))


def states(network: SequenceNetwork, batch: ChunkBatch) -> Tensor:
    with torch.inference_mode():
        return network.before(batch)[0]


def test_what_is_heard_is_the_vector_and_whether_it_is_outside_the_catalogue() -> None:
    network = GRU4RecNetwork(GRU4RecConfig(), VECTORS, n_catalogue=2)  # track 2 borrows its vector
    heard = network.heard(torch.tensor([1, 2, OUTSIDE, 99]))
    torch.testing.assert_close(
        heard, torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    )
    assert torch.equal(network.catalogue, VECTORS[:2])


def test_gru4rec_is_a_gru_over_the_tracks() -> None:
    """One unit, update gate sigma(0) = 1/2, candidate tanh(first coordinate): h' = (tanh(x) + h) / 2, from 0."""
    network = GRU4RecNetwork(GRU4RecConfig(hidden=1), VECTORS, 3)
    zeroed(network)
    put(network.gru.weight_ih_l0, [[0.0, 0, 0], [0, 0, 0], [1, 0, 0]])  # reset, update, candidate
    one = math.tanh(1) / 2
    two = (math.tanh(0.6) + one) / 2
    assert states(network, listens([0, 1, 2]))[:, 0].tolist() == pytest.approx([0, one, two])


def test_sasrec_averages_the_beginning_and_the_listens_before_where_all_attend_alike() -> None:
    """With queries of 0 attention is uniform; a pair normalises to ±(1, -1), so sums can be followed by hand.

    Inputs before positions 0, 1, 2: the beginning (2, 0), then tracks 0 and 2 as (0, 2) and (4, 0) = projection +
    position. Normalised: (1, -1), (-1, 1), (1, -1). Attention adds their mean up to each: (1, -1), (0, 0), (1/3, -1/3).
    """
    network = SASRecNetwork(SASRecConfig(history=2, hidden=2, blocks=1, heads=1, feedforward=1), VECTORS, 3)
    zeroed(network)
    put(network.beginning, [2.0, 0])
    put(network.project.weight, [[-1.0, 0, 0], [0, 0, 0]])  # track 0: (-1, 0); track 2: (0.8, 0)
    put(network.positions, [[0.0, 0], [1, 2], [3.2, 0], [0, 0]])
    block = network.blocks.layers[0]
    put(block.norm1.weight, [1.0, 1])
    put(block.norm2.weight, [1.0, 1])
    put(block.self_attn.in_proj_weight, [[0.0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1]])  # query, key, value
    put(block.self_attn.out_proj.weight, [[1.0, 0], [0, 1]])
    network.blocks.norm = nn.Identity()  # what follows is a normalisation, which would hide the sums
    expected = torch.tensor([[3.0, -1], [0, 2], [4 + 1 / 3, -1 / 3]])
    torch.testing.assert_close(states(network, listens([0, 2, 1])), expected, rtol=0, atol=1e-4)


def test_sasrec_refuses_heads_that_do_not_share_its_units_out() -> None:
    with pytest.raises(UserError, match="hidden=10 is not a multiple of heads=4"):
        SASRecNetwork(SASRecConfig(hidden=10, heads=4), VECTORS, 3)


def latent_cross() -> LatentCrossNetwork:
    """One unit; the GRU keeps nothing: its state is tanh(first coordinate of the track)."""
    network = LatentCrossNetwork(LatentCrossConfig(hidden=1, slow_hidden=1), VECTORS, 3, torch.zeros(3), torch.ones(3))
    zeroed(network)
    put(network.project.weight, [1.0, 0, 0])
    put(network.gru.weight_ih_l0, [0.0, 0, 1])  # reset, update, candidate
    put(network.gru.bias_ih_l0, [0.0, -100, 0])
    return network


def test_latent_cross_multiplies_by_one_plus_the_contexts() -> None:
    network = latent_cross()
    batch = listens([0, 1, 2], gap=[0.5, 0.25, 0.0], hour=[0.3, -0.2, 0.7])
    plain = [0.0, math.tanh(1), math.tanh(0.6)]
    assert states(network, batch)[:, 0].tolist() == pytest.approx(plain)
    # The input of a listen is multiplied by 1 + 2 * its gap, the state by 1 + 3 * the hour of the next request.
    put(network.listen_context.weight, [2.0, 0, 0, 0, 0, 0, 0])
    put(network.request_context.weight, [0.0, 0, 3, 0, 0, 0])
    put(network.first, [0.5])
    both = [0.5 * (1 + 0.9), math.tanh(1 * 2) * (1 - 0.6), math.tanh(0.6 * 1.5) * (1 + 2.1)]
    assert states(network, batch)[:, 0].tolist() == pytest.approx(both)
    # Slow features add to the sum of contexts, where anything is known of the user.
    put(network.slow_context.mlp[2].bias, [0.4])
    assert states(network, batch)[:, 0].tolist() == pytest.approx(both)
    known = batch._replace(slow_SD=torch.tensor([[1.0, 0, 0]]))
    slow = [0.5 * (1.4 + 0.9), math.tanh(2) * (1.4 - 0.6), math.tanh(0.9) * (1.4 + 2.1)]
    assert states(network, known)[:, 0].tolist() == pytest.approx(slow)


def test_jodie_projects_the_user_and_couples_the_two_rnns() -> None:
    """One unit each: user' = tanh(u + i / 2), item' = tanh(i + u / 4); items start at the first coordinate."""
    network = JODIENetwork(JODIEConfig(hidden=1), VECTORS, 3)
    zeroed(network)
    put(network.first_item.weight, [1.0, 0, 0])
    put(network.first_user, [0.2])
    for rnn, weight in ((network.user_rnn, 0.5), (network.item_rnn, 0.25)):
        put(rnn.weight_hh, [1.0])
        put(rnn.weight_ih, [weight, 0.0, 0, 0, 0, 0, 0, 0])
    put(network.projection.weight, [2.0])
    gap = [0.9, 0.1, 0.0, 0.4]
    found = states(network, listens([0, 1, 0, 2], gap=gap))

    user = [0.2]
    track_0, track_1 = math.tanh(1 + 0.2 / 4), None
    user.append(math.tanh(0.2 + 1 / 2))
    track_1 = math.tanh(0.6 + user[1] / 4)
    user.append(math.tanh(user[1] + 0.6 / 2))
    user.append(math.tanh(user[2] + track_0 / 2))  # track 0 is as its first listen has left it
    track_0_again = math.tanh(track_0 + user[2] / 4)
    projected = [u * (1 + 2 * pause) for u, pause in zip(user, gap, strict=True)]
    torch.testing.assert_close(found[:, 0], torch.tensor(projected))
    torch.testing.assert_close(found[:, 1], torch.tensor([0, track_0, track_1, track_0_again]))
    torch.testing.assert_close(found[:, 2:4], torch.stack([torch.zeros(2), VECTORS[0], VECTORS[1], VECTORS[0]]))


def test_jodie_updates_both_embeddings_by_the_features_of_the_listen() -> None:
    network = JODIENetwork(JODIEConfig(hidden=1), VECTORS, 3)
    zeroed(network)
    for rnn, weight in ((network.user_rnn, 3.0), (network.item_rnn, 5.0)):
        put(rnn.weight_ih, [0.0, weight, 0, 0, 0, 0, 0, 0])
    found = states(network, listens([0, 1], gap=[0.1, 0.7]))
    assert found[1, :2].tolist() == pytest.approx([math.tanh(0.3), math.tanh(0.5)])


TRACKS = [0, 2, 0, OUTSIDE, 1, 0, 2]


def mult_vae(dropout: float = 0.5) -> MultVAENetwork:
    torch.manual_seed(0)
    return MultVAENetwork(MultVAEConfig(hidden=5, latent_dim=4, dropout=dropout, beta=0.3), VECTORS, 3).eval()


def bags(network: MultVAENetwork, kept: Sequence[bool] = (True, True, True)) -> Tensor:
    """The first layer of the bag before each of TRACKS, from scratch; only kept tracks are in it, but in its length."""
    rows = []
    for n in range(len(TRACKS)):
        counts = np.bincount(TRACKS[:n], minlength=4)[:3].astype(np.float32)
        length = max(float(np.sqrt((counts**2).sum())), 1.0)
        bag = torch.from_numpy(counts * np.array(kept, dtype=np.float32) / length)
        rows.append(bag @ network.rows.weight[:3])
    return torch.stack(rows).detach()


def test_mult_vae_has_the_normalised_bag_of_listens_before_each_position() -> None:
    network = mult_vae()
    with torch.inference_mode():
        first = network.first_layer(torch.tensor([TRACKS]))[0]
    torch.testing.assert_close(first, bags(network))
    # Before the fifth listen: track 0 twice, track 2 once, the one outside does not count; the length is sqrt(5).
    expected = (2 * network.rows.weight[0] + network.rows.weight[2]) / math.sqrt(5)
    torch.testing.assert_close(first[4], expected)


def test_mult_vae_drops_a_track_from_all_bags_of_a_chunk_and_scales_up_the_others() -> None:
    network = mult_vae(dropout=0.25).train()
    torch.manual_seed(1)
    with torch.no_grad():
        drawn = network.first_layer(torch.tensor([TRACKS]).repeat(400, 1))
    subsets = list(itertools.product([True, False], repeat=3))
    expected = torch.stack([bags(network, kept) / 0.75 for kept in subsets])
    matches = (drawn[:, None] - expected).abs().amax(dim=(2, 3)) < 1e-5
    assert (matches.sum(dim=1) == 1).all()
    kept_share = (matches.float() @ torch.tensor(subsets).float()).mean(dim=0)
    assert kept_share.tolist() == pytest.approx([0.75] * 3, abs=0.07)


def test_mult_vae_anneals_its_kl_term() -> None:
    network = mult_vae(dropout=0.0)
    batch = listens([0, 1, 2, 1])
    with torch.no_grad():
        for epochs, beta in ((0.0, 0.0), (1.0, 0.075), (4.0, 0.3), (9.0, 0.3)):
            terms = network.loss(batch, epochs)
            assert float(terms["beta"]) == pytest.approx(beta)
            torch.testing.assert_close(terms["loss"], terms["nll"] + 20 * terms["softmax"] + beta * terms["kl"])
    # KL of N(mu, e^-5) from N(0, 1), summed over dimensions, mean over the targets
    mean = network.before(batch)[0].detach()
    by_hand = 0.5 * (math.exp(-5) + mean**2 - 1 + 5).sum(dim=1).mean()
    torch.testing.assert_close(terms["kl"], by_hand)


def test_mult_vae_predicts_from_the_mean_and_learns_from_draws() -> None:
    network = mult_vae(dropout=0.0)
    batch = listens([0, 1, 2, 1])
    with torch.no_grad():
        assert torch.equal(network(batch)[0], network(batch)[0])
        assert network.loss(batch, 0.0)["nll"] != network.loss(batch, 0.0)["nll"]
