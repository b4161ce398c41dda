"""The last stage moves probability among the first tracks only, and learns what the user does with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_dataset import FIRST_DAY, HOUR_US, dataset_of, random_model, small_config, unit_vectors

from fsvae.data.dataset import Dataset
from fsvae.features.clock import DAY_US, SECOND_US
from fsvae.memory.contexts import EXPERTS, N_OWN
from fsvae.memory.ranker import N_FEATURES, Ranker, shortlist_of
from fsvae.memory.rows import Memory, MemoryRows
from fsvae.memory.supports import BLOCKS, block_begins, remember
from fsvae.models.fit_ranker import fit_ranker
from fsvae.models.predict import NetworkPredictor

ALL = dict.fromkeys(("slow_memory", "fast_memory", "shared_memory"), True)
START = FIRST_DAY * DAY_US


def not_soon_again() -> Dataset:
    """Each user hears eight tracks at random, but none of the latest three again."""
    rng = np.random.default_rng(1)
    histories = {}
    for user in range(40):
        tracks: list[int] = []
        for _ in range(240):
            tracks.append(int(rng.choice(sorted({(user + n) % 12 for n in range(8)} - set(tracks[-3:])))))
        histories[f"u{user}"] = [(x, START + user * HOUR_US + n * 600 * SECOND_US) for n, x in enumerate(tracks)]
    times = np.sort([listen[1] for heard in histories.values() for listen in heard])
    return dataset_of(histories, unit_vectors(12, 6), int(times[int(0.8 * len(times))]), int(times[-1]))


@torch.inference_mode()
def test_the_features_of_a_candidate_by_hand() -> None:
    """A B A, a minute apart, then a request: A was heard twice, a listen ago; B once, two listens ago; C never.

    The vectors of A and B are 45 degrees apart.
    """
    heard = [(track, START + n * 60 * SECOND_US) for n, track in enumerate([0, 1, 0, 2])]
    data = dataset_of({"u": heard}, unit_vectors(3, 4), train_until=0, validation_until=1)
    remembered = remember(data, tables_from=0)
    rows = MemoryRows(Memory(data.listens, remembered.tables[0][1]), np.array([3]))
    p = torch.tensor([[0.5, 0.3, 0.2]])
    half = np.sqrt(0.5)
    vectors = torch.tensor([[1.0, 0.0], [half, half], [0.0, 1.0], [0.0, 0.0]])
    of_network = torch.tensor([[0.4]])  # of B and C it knows nothing
    found = shortlist_of(p, of_network, remembered.supports.at(torch.tensor([3])), rows, vectors, most=2)
    assert found.track_NK.tolist() == [[0, 1]] and found.p_NK.tolist() == [[0.5, pytest.approx(0.3)]]
    a, b = found.features_NKF[0].double().numpy()
    assert a[0] == pytest.approx(np.log(2 / 3 + 0.01) / 2.3) and b[0] == pytest.approx(np.log(1 / 3 + 0.01) / 2.3)
    assert a[len(EXPERTS) :].tolist() == pytest.approx(
        [*np.log([0.5, 0.1, 0.4]), np.log(3) / 3, 1.0, np.log(2) / 3, np.log1p(1 / 1440) / 3, 1.0, half, 1.0], rel=1e-5
    )
    assert b[len(EXPERTS) :].tolist() == pytest.approx(
        [*np.log([0.3, 0.3, 1e-7]), np.log(2) / 3, 1.0, np.log(3) / 3, np.log1p(2 / 1440) / 3, half, 1.0, half],
        rel=1e-5,
    )


@torch.inference_mode()
def test_before_it_is_fitted_it_changes_nothing_and_then_only_the_first_tracks() -> None:
    data = not_soon_again()
    model = random_model(data, small_config(**ALL, ranked=4))
    assert model.ranker is not None
    span = data.period("validation")
    ranked = np.concatenate([part.scores for part in NetworkPredictor(model).predict(data, *span)])
    fresh = Ranker(model.gates.n_inputs, 8, [True] * len(EXPERTS)) if model.gates else None
    model.ranker, other = None, model.ranker
    plain = np.concatenate([part.scores for part in NetworkPredictor(model).predict(data, *span)])
    model.ranker = fresh
    unfitted = np.concatenate([part.scores for part in NetworkPredictor(model).predict(data, *span)])
    np.testing.assert_allclose(unfitted, plain, atol=1e-6)
    first = np.argsort(-plain, axis=1, kind="stable")[:, :4]
    rest = np.ones_like(plain, dtype=bool)
    np.put_along_axis(rest, first, False, axis=1)
    assert np.array_equal(ranked[rest], plain[rest]) and not np.allclose(ranked, plain) and other is not None
    np.testing.assert_allclose(ranked.sum(axis=1), 1, atol=1e-5)


def test_it_learns_that_what_was_heard_a_moment_ago_is_not_heard_again() -> None:
    """A mixture of counts cannot say so: each of its parts adds to what was heard."""
    data = not_soon_again()
    model = random_model(data, small_config(**ALL, ranked=12))
    assert model.gates is not None
    model.ranker = Ranker(model.gates.n_inputs, 16, [True] * len(EXPERTS))
    begin = block_begins(data)[BLOCKS // 2 - 1]

    def of_the_latest_three() -> float:
        found = []
        for part in NetworkPredictor(model).predict(data, *data.period("validation")):
            assert part.scores is not None
            latest = data.listens.track[part.targets[:, None] - np.arange(1, 4)]
            found.append(np.take_along_axis(part.scores, latest.astype(np.int64), axis=1).sum(axis=1))
        return float(np.concatenate(found).mean())

    before = of_the_latest_three()
    fit_ranker(model, data, remember(data, tables_from=begin), begin, data.period("train")[1], seed=1)
    assert of_the_latest_three() < 0.6 * before


def test_the_same_seed_fits_the_same_ranker() -> None:
    data = not_soon_again()
    begin = block_begins(data)[BLOCKS // 2 - 1]
    remembered = remember(data, tables_from=begin)
    fitted = []
    for seed in (1, 1, 2):
        model = random_model(data, small_config(**ALL, ranked=12))
        fit_ranker(model, data, remembered, begin, data.period("train")[1], seed=seed)
        assert model.ranker is not None
        fitted.append(model.ranker.out.weight.detach().clone())
    assert torch.equal(fitted[0], fitted[1]) and not torch.equal(fitted[0], fitted[2])


def test_what_tells_the_catalogue_from_other_tracks_can_be_left_out() -> None:
    torch.manual_seed(1)
    ranker = Ranker(5, 8, [True] * len(EXPERTS))
    torch.nn.init.normal_(ranker.out.weight)
    features, situation = torch.rand(2, 3, N_FEATURES), torch.rand(2, 5)
    changed = features.clone()
    changed[..., N_OWN : len(EXPERTS)] = 9.0  # everybody's counts
    changed[..., len(EXPERTS) + 1 : len(EXPERTS) + 3] = 9.0  # parts of the memory and of the network, behind log p
    assert not torch.allclose(ranker(features, situation), ranker(changed, situation))
    ranker.ignore_catalogue()
    assert torch.equal(ranker(features, situation), ranker(changed, situation))
    changed[..., 0] = 9.0
    assert not torch.allclose(ranker(features, situation), ranker(changed, situation))
