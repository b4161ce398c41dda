"""The repeat head: shares of past listens worked out by hand, and what the mixture makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_dataset import dataset_of, random_histories, random_model, small_config, unit_vectors

from fsvae.data.chunks import Batcher, ChunkBatch, training_chunks
from fsvae.data.dataset import Dataset
from fsvae.models.pointer import Past, Repeat, RepeatHead, mixture_loss, mixture_mean, mixture_scores

FOREVER = np.iinfo(np.int64).max
CATALOGUE = 8


def by_hand() -> RepeatHead:
    """A head with one input and keys of one number: key = x + 10 * (x of the listen before), query = state."""
    head = RepeatHead(state=1, inputs=1, dim=1, history=2)
    with torch.no_grad():
        for layer in (head.key, head.query, head.sentinel):
            layer.bias.zero_()
        head.key.weight.copy_(torch.tensor([[1.0, 10.0]]))
        head.query.weight.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
        head.sentinel.weight.fill_(1.0)
        head.followed.zero_()
        head.age.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0]))
    return head


X = torch.tensor([[[0.1], [0.2], [0.3], [0.0]], [[0.4], [0.5], [0.0], [0.0]]])
TRACKS = torch.tensor([[7, 5, 7, 3], [2, 9, 4, 4]])
VECTORS = torch.eye(10)[TRACKS]


def past(targets: list[tuple[int, int]]) -> Past:
    history, position = torch.tensor(targets).T
    return Past(X, TRACKS < CATALOGUE, TRACKS, VECTORS, history, position)


def test_shares_by_hand() -> None:
    """Two histories; keys .1, .2 + 1, .3 + 2 and .4, .5 + 4 (whose track is outside the catalogue).

    The latest listen before a target has 0.5 more; the sentinel has the state, 1, 2 and 1.
    """
    with torch.inference_mode():
        found = by_hand()(torch.tensor([[1.0], [2.0], [1.0]]), past([(0, 2), (0, 3), (1, 2)]))
    first = [math.exp(0.1), math.exp(1.2 + 0.5)]
    second = [math.exp(2 * 0.1), math.exp(2 * 1.2), math.exp(2 * 2.3 + 0.5)]
    third = [math.exp(0.4)]
    assert found.share_NT[0].tolist() == pytest.approx([share / sum(first) for share in first] + [0, 0])
    assert found.share_NT[1].tolist() == pytest.approx([share / sum(second) for share in second] + [0])
    assert found.share_NT[2].tolist() == [1, 0, 0, 0]
    assert found.track_NT[:, 0].tolist() == [7, 7, 2]
    rest = [math.exp(s) / (math.exp(s) + sum(listens)) for s, listens in ((1, first), (2, second), (1, third))]
    assert found.log_rest_N.exp().tolist() == pytest.approx(rest)
    assert found.log_gate_N.exp().tolist() == pytest.approx([1 - share for share in rest])
    mean = [0.0] * 10
    mean[7], mean[5] = (second[0] + second[2]) / sum(second), second[1] / sum(second)
    assert found.mean_ND[1].tolist() == pytest.approx(mean)


def test_the_query_is_read_off_the_state_and_the_last_two_listens() -> None:
    """Behind .1 and .2 with the state 3 it is 3 + 10 * .2 + 100 * .1 = 15; keys are .1 and 1.2, and .5 more."""
    head = by_hand()
    with torch.inference_mode():
        head.query.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
        found = head(torch.tensor([[3.0]]), past([(0, 2)]))
    assert float(found.share_NT[0, 0]) == pytest.approx(1 / (1 + math.exp(15 * 1.1 + 0.5)))


def test_what_followed_the_last_tracks_has_a_bonus() -> None:
    """1 2 3 1 2 9 2: bonuses .1 behind the last track, .2 behind the last two, and .4, .8 for the latest such listen.

    The 9 is not in the catalogue: it is not pointed at, and nothing follows it.
    """
    track = torch.tensor([[1, 2, 3, 1, 2, 9, 2]])
    head = RepeatHead(state=1, inputs=1, dim=1, history=4)
    at = torch.tensor([4, 5, 6, 7])
    x = Past(torch.zeros(1, 7, 1), track < CATALOGUE, track, torch.eye(10)[track], torch.zeros_like(at), at)
    with torch.inference_mode():
        for weights in head.parameters():
            weights.zero_()
        head.followed.copy_(torch.tensor([0.1, 0.2, 0.4, 0.8]))
        found = head(torch.zeros(4, 1), x)
    latest, both = math.exp(0.1 + 0.4), math.exp(0.1 + 0.2 + 0.4 + 0.8)
    expected = [
        [1, latest, 1, 1, 0, 0, 0],  # 3 1 -> ?: the 2 behind the 1, never behind 3 1
        [1, 1, both, 1, 1, 0, 0],  # 1 2 -> ?: the 3
        [1, 1, 1, 1, 1, 0, 0],  # 2 9 -> ?
        [1, 1, latest, 1, 1, 0, 1],  # 9 2 -> ?: the 3; the 9 came later
    ]
    for found_T, weights_T in zip(found.share_NT.tolist(), expected, strict=True):
        assert found_T == pytest.approx([weight / sum(weights_T) for weight in weights_T])


def test_only_the_latest_follower_has_the_second_bonus() -> None:
    """1 2 1 3 1 -> ?: the 3 was the latest to follow a 1, the 2 an earlier one."""
    track = torch.tensor([[1, 2, 1, 3, 1]])
    head = RepeatHead(state=1, inputs=1, dim=1, history=4)
    at = torch.tensor([5])
    x = Past(torch.zeros(1, 5, 1), track < CATALOGUE, track, torch.eye(10)[track], torch.zeros_like(at), at)
    with torch.inference_mode():
        for weights in head.parameters():
            weights.zero_()
        head.followed.copy_(torch.tensor([0.1, 0.2, 0.4, 0.8]))
        found = head(torch.zeros(1, 1), x)
    weights_T = [1, math.exp(0.1), 1, math.exp(0.5), 1]
    assert found.share_NT[0].tolist() == pytest.approx([weight / sum(weights_T) for weight in weights_T])


def test_where_nothing_can_be_repeated_the_softmax_is_all() -> None:
    """Before the first listen, and behind none but one outside the catalogue."""
    x = past([(0, 0), (1, 1)])._replace(allowed_BT=torch.tensor([[True] * 4, [False] * 4]))
    with torch.inference_mode():
        found = by_hand()(torch.ones(2, 1), x)
        softmax = torch.tensor([1.5, 0.3])
        log_p = torch.randn(2, CATALOGUE).log_softmax(dim=1)
        assert not found.share_NT.any() and found.log_rest_N.tolist() == [0, 0]
        torch.testing.assert_close(mixture_loss(softmax, found, torch.tensor([7, 2])), softmax)
        torch.testing.assert_close(mixture_scores(log_p, found), log_p)


REPEAT = Repeat(
    share_NT=torch.tensor([[0.5, 0.2, 0.3], [1.0, 0.0, 0.0]]),
    track_NT=torch.tensor([[1, 3, 1], [0, 0, 0]]),
    mean_ND=torch.tensor([[1.0, 0.0], [0.0, 4.0]]),
    log_gate_N=torch.tensor([0.25, 0.5]).log(),
    log_rest_N=torch.tensor([0.75, 0.5]).log(),
)


def test_the_expected_vector_is_that_of_the_mixture() -> None:
    mean = mixture_mean(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), REPEAT)
    assert mean.tolist() == [pytest.approx([0.25, 0.75]), pytest.approx([1.0, 2.0])]


SOFTMAX = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
MIXED = [
    [0.75 * 0.1, 0.75 * 0.2 + 0.25 * 0.8, 0.75 * 0.3, 0.75 * 0.4 + 0.25 * 0.2],
    [0.5 * 0.7 + 0.5, 0.05, 0.05, 0.05],
]


def test_equal_tracks_add_up_and_the_mixture_sums_to_one() -> None:
    scores = mixture_scores(SOFTMAX.log(), REPEAT).exp()
    assert scores.flatten().tolist() == pytest.approx([p for row in MIXED for p in row], rel=1e-5)
    assert scores.sum(dim=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("target", range(4))
def test_the_loss_is_that_of_the_mixture(target: int) -> None:
    found = mixture_loss(-SOFTMAX[:, target].log(), REPEAT, torch.tensor([target, target]))
    assert found.tolist() == pytest.approx([-math.log(row[target]) for row in MIXED], rel=1e-5)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset_of(random_histories([9, 14, 5], 10, seed=1), unit_vectors(CATALOGUE, 6), FOREVER, FOREVER, outside=2)


@pytest.fixture(scope="module")
def batch(data: Dataset) -> ChunkBatch:
    chunks = training_chunks(data.listens, FOREVER, 4)
    return Batcher(data, chunks, catalogue_targets_only=True)[np.arange(len(chunks))]


CONFIG = small_config(repeat_head=True, repeat_dim=5)


def test_the_scores_of_a_model_are_log_probabilities_that_its_loss_is_made_of(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, CONFIG)
    with torch.inference_mode():
        prediction = model(batch)
        scores = model.scores(prediction, model.search_table)
        target = batch.track_BT[batch.target_BT]
        terms = model.validate(batch)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
    expected = -scores.gather(1, target[:, None]).mean()
    assert float(terms["softmax"]) == pytest.approx(float(expected), rel=1e-5)
    found = model.predictions(batch)
    assert found.queries is None and np.array_equal(found.scores, scores.numpy())


def test_no_target_sees_its_own_listen_or_a_later_one(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, CONFIG)
    everything = batch._replace(target_BT=torch.ones_like(batch.target_BT))

    @torch.inference_mode()
    def scores(batch: ChunkBatch) -> torch.Tensor:
        return model.scores(model(batch), model.search_table).reshape(*batch.track_BT.shape, -1)

    at = 3
    track, features = batch.track_BT.clone(), batch.features_BTF.clone()
    track[:, at:] = (track[:, at:] + 1) % CATALOGUE
    features[:, at:] += 1
    before, after = scores(everything), scores(everything._replace(track_BT=track, features_BTF=features))
    torch.testing.assert_close(before[:, : at + 1], after[:, : at + 1], rtol=0, atol=1e-6)
    assert (before[:, at + 1 :] != after[:, at + 1 :]).any(dim=-1).all()


def test_where_the_listens_are_dropped_in_training_nothing_is_pointed_at(data: Dataset, batch: ChunkBatch) -> None:
    for rate, expected in ((1.0, False), (0.0, True)):
        model = random_model(data, small_config(repeat_head=True, fast_dropout=rate)).train()
        repeat = model(batch).repeat
        assert repeat is not None and bool(repeat.share_NT.any()) == expected


def test_every_part_learns(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, CONFIG)
    model.loss(batch, epochs=1.0)["loss"].backward()
    for name, parameter in model.repeat_head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_batch_without_a_target_has_a_loss_of_zero(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, CONFIG).train()
    loss = model.loss(batch._replace(target_BT=torch.zeros_like(batch.target_BT)), epochs=1.0)["loss"]
    loss.backward()
    assert loss.item() == 0
