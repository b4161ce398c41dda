"""What every network of the comparison must do: see nothing of what comes, learn, and be fitted by the one trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_dataset import FIRST_DAY, HOUR_US, History, dataset_of, pattern, random_histories, unit_vectors

import fsvae
from fsvae.baselines.registry import MODELS
from fsvae.baselines.sequence import SequenceNetwork
from fsvae.data.chunks import Batcher, ChunkBatch, training_chunks
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US
from fsvae.memory.supports import remember
from fsvae.models.base import Network
from fsvae.models.predict import NetworkPredictor
from fsvae.models.train_config import TrainConfig
from fsvae.models.trainer import fit

FOREVER = np.iinfo(np.int64).max
SMALL: dict[str, dict[str, Any]] = {
    "fsvae": {
        "slow_hidden": 8,
        "slow_dim": 6,
        "fast_hidden": 24,
        "latent_dim": 16,
        "softmax_weight": 1.0,
        "slow_dropout": 0.0,
        "fast_dropout": 0.0,
    },
    "latent_cross": {"hidden": 16, "slow_hidden": 8, "dropout": 0.0},
    "jodie": {"hidden": 16},
    "mult_vae": {"hidden": 32, "latent_dim": 16, "dropout": 0.0, "beta": 0.02},
    "gru4rec": {"hidden": 16, "dropout": 0.0},
    "sasrec": {"hidden": 16, "feedforward": 32, "dropout": 0.0},
}
NETWORKS = [kind for kind, entry in MODELS.items() if entry.neural]
BASELINES = [kind for kind in NETWORKS if kind != "fsvae"]


def small(kind: str, **changes: Any) -> Any:
    return MODELS[kind].settings(**{"history": 4, "decoder_hidden": 32} | SMALL[kind] | changes)


def random_network(kind: str, data: Dataset, config: Any = None) -> Network:
    """A network in evaluation mode whose weights are large enough for every input to matter."""
    network: Network = MODELS[kind].load().for_dataset(data, config or small(kind))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def tiny(histories: dict[str, History] | None = None) -> Dataset:
    histories = histories or random_histories([9, 14, 5], 10, seed=1)
    return dataset_of(histories, unit_vectors(8, 6), FOREVER, FOREVER, outside=2)


def whole(data: Dataset, history: int = 4) -> ChunkBatch:
    """All training chunks as one batch, each position a target."""
    chunks = training_chunks(data.listens, FOREVER, history)
    batch = Batcher(data, chunks, catalogue_targets_only=False)[np.arange(len(chunks))]
    return batch._replace(target_BT=torch.ones_like(batch.target_BT))


def predicted(network: Network, data: Dataset) -> NDArray[np.float32]:
    """Points and scores of every listen, in order."""
    parts = list(NetworkPredictor(network).predict(data, 0, FOREVER))
    order = np.argsort(np.concatenate([part.targets for part in parts]))
    points = [
        np.hstack([part.vectors] + [of for of in (part.queries, part.scores) if of is not None]) for part in parts
    ]
    assert len(order) == len(data.listens)
    return np.concatenate(points)[order]


READS = {
    "fsvae": {"track", "listen", "request", "slow"},
    "latent_cross": {"track", "listen", "request", "slow"},
    "jodie": {"track", "listen", "request"},
    "mult_vae": {"track"},
    "gru4rec": {"track"},
    "sasrec": {"track"},
}


@pytest.mark.parametrize("what", ["track", "listen", "request", "slow"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_reads_what_its_paper_gives_it(kind: str, what: str) -> None:
    data = tiny()
    batch = whole(data)
    changed = {
        "track": batch._replace(track_BT=(batch.track_BT + 1) % 8),
        "listen": batch._replace(features_BTF=1 - batch.features_BTF),
        "request": batch._replace(request_BTR=1 - batch.request_BTR),
        "slow": batch._replace(slow_SD=torch.cat([batch.slow_SD[:, :1], batch.slow_SD[:, 1:] + 1], dim=1)),
    }
    network = random_network(kind, data)
    before, after = network.predictions(batch), network.predictions(changed[what])
    assert np.array_equal(before.vectors, after.vectors) == (what not in READS[kind])


@pytest.mark.parametrize("kind", NETWORKS)
def test_listens_from_t_on_move_no_prediction_up_to_t(kind: str) -> None:
    histories = random_histories([9, 14, 5], 10, seed=1)
    data = tiny(histories)
    network = random_network(kind, data)
    t = histories["u1"][9][1]
    moved = {
        user: [
            row if row[1] < t else ((row[0] + 1) % 10, row[1] + (HOUR_US if row[1] > t else 0), 1 - row[2])  # type: ignore[misc]
            for row in history
        ]
        for user, history in histories.items()
    }
    ours, theirs = predicted(network, data), predicted(network, tiny(moved))
    upto = data.listens.played_at <= t
    assert upto.sum() >= 15 and (~upto).sum() >= 4
    np.testing.assert_allclose(theirs[upto], ours[upto], rtol=0, atol=1e-6)
    behind = np.flatnonzero(data.listens.user == 1)[10:]
    assert np.abs(theirs[behind] - ours[behind]).max(axis=1).min() > 1e-4


@pytest.mark.parametrize("kind", BASELINES)
def test_a_state_is_that_of_the_listens_before_it_alone(kind: str) -> None:
    """One pass over a chunk gives at each position what a pass over the chunk's beginning gives at its end."""
    data = tiny()
    batch = whole(data)
    network = random_network(kind, data)
    assert isinstance(network, SequenceNetwork)
    with torch.inference_mode():
        state_BTH = network.before(batch)
        for n in range(1, batch.track_BT.shape[1] + 1):
            cut = batch._replace(
                track_BT=batch.track_BT[:, :n],
                features_BTF=batch.features_BTF[:, :n],
                request_BTR=batch.request_BTR[:, :n],
                slow_index_BT=batch.slow_index_BT[:, :n],
            )
            torch.testing.assert_close(network.before(cut)[:, -1], state_BTH[:, n - 1], rtol=0, atol=1e-5)
    assert state_BTH.std(dim=(0, 1)).max() > 0.01


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_learns_a_tiny_dataset_by_heart(kind: str) -> None:
    data = pattern()
    batch = whole(data)
    torch.manual_seed(0)
    network = MODELS[kind].load().for_dataset(data, small(kind, softmax_weight=1.0))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    before = network.validate(batch)
    for step in range(150):
        optimiser.zero_grad()
        network.loss(batch, step / 10)["loss"].backward()
        optimiser.step()
    network.eval()
    after = network.validate(batch)
    assert all(after[name].mean() < 0.6 * before[name].mean() for name in ("l2", "cosine"))
    position = np.arange(8)
    by_the_past = position > 0
    if kind == "mult_vae":
        by_the_past &= position != 5  # a bag of all five tracks, each heard once, says nothing of their order
    rows = np.broadcast_to(by_the_past, batch.track_BT.shape).flatten()
    found = network.predictions(batch)
    scores = found.scores if found.queries is None else found.queries @ data.vectors.T
    assert scores is not None
    for said in (found.vectors @ data.vectors.T, scores):
        assert (said.argmax(axis=1) == batch.track_BT.flatten().numpy())[rows].mean() > 0.95


BF16 = [("bf16-mixed", kind) for kind in BASELINES]  # not FS-VAE: not every CPU has an LSTM in bf16


@pytest.mark.parametrize(("precision", "kind"), [*(("32-true", kind) for kind in NETWORKS), *BF16])
def test_every_default_config_trains_for_a_batch(kind: str, precision: str, tmp_path: Path) -> None:
    data = pattern()
    network = MODELS[kind].load().for_dataset(data, MODELS[kind].settings())
    config = TrainConfig(max_epochs=1, batch_listens=16, precision=precision)
    memory = remember(data).supports if network.has_memory else None
    fitted = fit(network, data, config, 1, tmp_path, memory=memory, max_batches=1)
    assert fitted.epochs == 1 and 0.01 < fitted.best < 3
    assert np.isfinite(predicted(network, data)).all()


@pytest.mark.parametrize("kind", BASELINES)
def test_without_a_softmax_the_query_is_the_point_and_the_loss_is_the_likelihood(kind: str) -> None:
    data = pattern()
    batch = whole(data)
    plain, two = (
        random_network(kind, data, small(kind, softmax_weight=weight, track_table="frozen")) for weight in (0.0, 3.0)
    )
    points = plain.predictions(batch)
    assert points.queries is not None and np.array_equal(points.queries, points.vectors)
    both = two.predictions(batch)
    assert both.queries is not None and not np.allclose(both.queries, both.vectors)
    terms, terms_of_two = plain.loss(batch, 0.0), two.loss(batch, 0.0)
    assert "softmax" not in terms and terms["loss"] == terms["nll"]  # at 0 epochs a KL term counts nothing
    expected = terms_of_two["nll"] + 3.0 * terms_of_two["softmax"]
    torch.testing.assert_close(terms_of_two["loss"], expected)


@pytest.mark.parametrize("kind", BASELINES)
def test_a_finetuned_table_is_learned_and_searched_and_distances_stay_in_the_track_space(kind: str) -> None:
    data = pattern()
    batch = whole(data)
    frozen, finetuned = (
        MODELS[kind].load().for_dataset(data, small(kind, track_table=word)) for word in ("frozen", "finetuned")
    )
    assert frozen.table is None and frozen.n_scored == 0 and finetuned.table is not None
    assert torch.equal(finetuned.table, frozen.tracks)
    finetuned.loss(batch, 1.0)["loss"].backward()
    assert finetuned.table.grad is not None
    assert finetuned.table.grad[: data.n_catalogue].any(dim=1).all()
    finetuned.eval()
    l2 = finetuned.validate(batch)["l2"]
    before = finetuned.predictions(batch)
    assert before.scores is not None and before.queries is None and before.scores.shape[1] == finetuned.n_scored
    with torch.no_grad():
        finetuned.table[: data.n_catalogue] *= 3.0  # as long as they may be, only directions are searched
    after = finetuned.predictions(batch)
    assert after.scores is not None and np.abs(after.scores).max() <= 1 + 1e-5
    if kind == "mult_vae":  # which reads rows of its own
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)
        assert torch.equal(finetuned.validate(batch)["l2"], l2)


def test_a_recommender_is_fitted_the_same_each_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    data = pattern()
    train = TrainConfig(max_epochs=2, batch_listens=64, refit=False)
    figures = []
    for folder in (None, tmp_path, tmp_path):
        recommender = fsvae.baselines.GRU4Rec(small("gru4rec"), train, seed=5, folder=folder)
        assert recommender.name == "GRU4Rec"
        torch.manual_seed(len(figures))  # nothing of before may matter
        recommender.fit(data)
        figures.append(evaluate_model(recommender, data, "validation").metrics())
    assert figures[0] == figures[1] == figures[2]
    other = fsvae.baselines.GRU4Rec(small("gru4rec"), replace(train, max_epochs=1), seed=6)
    other.fit(data)
    assert evaluate_model(other, data, "validation").metrics() != figures[0]
    assert [{path.name for path in fit.iterdir()} for fit in tmp_path.iterdir()] == [{"best.ckpt", "last.ckpt"}]
    other = fsvae.baselines.GRU4Rec(small("gru4rec"), train, seed=6, folder=tmp_path).fit(data)
    assert evaluate_model(other, data, "validation").metrics() != figures[0]  # a fit of something else begins anew


def test_a_recommender_has_the_defaults_of_its_kind() -> None:
    classes = [getattr(fsvae.baselines, name) for name in ("LatentCross", "JODIE", "MultVAE", "GRU4Rec", "SASRec")]
    names = {one.kind: one().name for one in (fsvae.FSVAE, *classes)}
    assert names == {
        "fsvae": "FS-VAE",
        "latent_cross": "LatentCross",
        "jodie": "JODIE",
        "mult_vae": "VAE-CF",
        "gru4rec": "GRU4Rec",
        "sasrec": "SASRec",
    }


@pytest.mark.parametrize(("period", "until"), [("train", 0), ("validation", 10)])
def test_a_dataset_with_nothing_to_learn_from_is_refused(period: str, until: int) -> None:
    histories: dict[str, History] = {"a": [(n % 3, FIRST_DAY * DAY_US + n) for n in range(10)]}
    data = dataset_of(histories, unit_vectors(3, 6), FIRST_DAY * DAY_US + until, FIRST_DAY * DAY_US + 20)
    with pytest.raises(UserError, match=f"No listen of the {period} period is to a track of the catalogue"):
        fsvae.baselines.LatentCross(small("latent_cross")).fit(data)
