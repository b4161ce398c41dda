"""The model: its switches, its inputs, and that it can learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tiny_dataset import all_slow, dataset_of, pattern, random_histories, random_model, small_config, unit_vectors

from fsvae.data.chunks import Batcher, ChunkBatch, training_chunks
from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.dataset import Dataset
from fsvae.models.fsvae import FSVAENetwork, Prediction
from fsvae.models.model_config import ModelConfig
from fsvae.models.module import TrainingModule
from fsvae.models.train_config import OptimiserConfig

FOREVER = np.iinfo(np.int64).max
OFF = {"slow": False, "fast": "off", "request_time": False}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset_of(random_histories([9, 14, 5], 10, seed=1), unit_vectors(8, 6), FOREVER, FOREVER, outside=2)


@pytest.fixture(scope="module")
def batch(data: Dataset) -> ChunkBatch:
    chunks = training_chunks(data.listens, FOREVER, 4)
    return Batcher(data, chunks, catalogue_targets_only=True)[np.arange(len(chunks))]


@torch.inference_mode()
def predict(model: FSVAENetwork, batch: ChunkBatch) -> Prediction:
    return model(batch)


def changed(batch: ChunkBatch, what: str) -> ChunkBatch:
    if what == "slow":
        return batch._replace(slow_SD=torch.cat([batch.slow_SD[:, :1], batch.slow_SD[:, 1:] + 1], dim=1))
    if what == "fast":
        return batch._replace(track_BT=(batch.track_BT + 1) % 8, features_BTF=1 - batch.features_BTF)
    return batch._replace(request_BTR=1 - batch.request_BTR)


@pytest.mark.parametrize("off", [None, *OFF])
@pytest.mark.parametrize("what", list(OFF))
def test_a_switch_turns_one_input_off_and_no_other(
    data: Dataset, batch: ChunkBatch, off: str | None, what: str
) -> None:
    model = random_model(data, small_config(**({off: OFF[off]} if off else {})))
    before, after = predict(model, batch), predict(model, changed(batch, what))
    assert torch.equal(before.y_ND, after.y_ND) == (what == off)
    assert torch.equal(before.query_ND, after.query_ND) == (what == off)


def test_a_deterministic_latent_gives_one_answer_and_a_gaussian_one_many(data: Dataset, batch: ChunkBatch) -> None:
    torch.manual_seed(0)
    for latent in ("deterministic", "gaussian"):
        model = random_model(data, small_config(latent=latent))
        with torch.inference_mode():
            first, second = (model(batch, sample=True).y_ND for _ in range(2))
            mean = model(batch).y_ND
        assert torch.equal(first, second) == (latent == "deterministic")
        assert torch.equal(first, mean) == (latent == "deterministic")


def test_without_a_softmax_the_query_is_the_point(data: Dataset, batch: ChunkBatch) -> None:
    plain = predict(random_model(data, small_config(softmax_weight=0.0)), batch)
    assert torch.equal(plain.y_ND, plain.query_ND)
    two = predict(random_model(data, small_config()), batch)
    assert not torch.allclose(two.y_ND, two.query_ND)


def test_the_cosine_likelihood_counts_directions_and_predicts_their_mean(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, small_config(likelihood="cosine", latent="deterministic", beta=0.0))
    with torch.inference_mode():
        terms = model.loss(batch, epochs=1.0)
        prediction = model(batch)
        actual = model.tracks[batch.track_BT[batch.target_BT]]
        expected = model.likelihood(3 * prediction.y_ND, actual).mean()
    lengths = prediction.y_ND.norm(dim=1)
    assert terms["nll"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert 0.05 < lengths[0] < 1 and torch.allclose(lengths, lengths[0].expand(len(lengths)))
    assert terms["loss"].item() == pytest.approx((terms["nll"] + terms["softmax"]).item(), rel=1e-5)


def test_the_track_softmax_alone_is_over_the_point_itself(data: Dataset, batch: ChunkBatch) -> None:
    config = small_config(likelihood="track_softmax", softmax_weight=0.0, latent="deterministic")
    model = random_model(data, config)
    with torch.inference_mode():
        terms, prediction = model.loss(batch, epochs=1.0), model(batch)
        logits = model.softmax.log_scale.exp() * prediction.y_ND @ model.catalogue.T
        expected = torch.nn.functional.cross_entropy(logits, batch.track_BT[batch.target_BT])
    assert torch.equal(prediction.y_ND, prediction.query_ND)
    torch.testing.assert_close(prediction.y_ND.norm(dim=1), torch.ones(len(prediction.y_ND)))
    assert terms["nll"].item() == pytest.approx(expected.item(), rel=1e-5) == terms["loss"].item()
    assert model.validate(batch)["nll"].mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_finetuned_table_is_read_and_searched_and_the_distances_stay_in_the_track_space(
    data: Dataset, batch: ChunkBatch
) -> None:
    frozen = random_model(data, small_config())
    model = random_model(data, small_config(track_table="finetuned"))
    model.load_state_dict(frozen.state_dict() | {"table": frozen.tracks})
    before = predict(model, batch)
    assert torch.equal(before.y_ND, predict(frozen, batch).y_ND)  # it starts from the track space
    torch.testing.assert_close(model.search_table, frozen.catalogue)

    model.loss(batch, epochs=1.0)["loss"].backward()
    assert model.table is not None and model.table.grad is not None and model.table.grad[:8].any(dim=1).all()
    assert model.tracks.grad is None
    with torch.no_grad():
        model.table[0] += 1.0
    after = predict(model, batch)
    heard = (batch.track_BT == 0).int()
    ahead = (heard.cumsum(dim=1) - heard)[batch.target_BT] > 0
    moved = (before.y_ND != after.y_ND).any(dim=1)
    assert torch.equal(moved, ahead)
    assert torch.equal(model.tracks, frozen.tracks)  # what predictions are compared with
    expected = torch.nn.functional.normalize(model.table[:8], dim=1).detach()
    cosine = torch.nn.functional.cosine_similarity(after.query_ND[:, None], expected[None], dim=2)
    found = model.predictions(batch)
    assert found.scores is not None and found.queries is None and model.n_scored == 8
    np.testing.assert_allclose(found.scores, cosine.numpy(), rtol=0, atol=1e-5)


def test_a_user_that_nothing_is_known_of_is_encoded_as_zero(data: Dataset) -> None:
    model = random_model(data, small_config())
    slow = torch.from_numpy(all_slow(data).copy())
    slow[:, 0] = torch.arange(len(slow)) % 2
    encoded = model.slow(slow)
    assert not encoded[::2].any() and encoded[1::2].abs().sum(dim=1).min() > 0


def test_tracks_outside_the_catalogue_are_one_track_without_a_vector(data: Dataset) -> None:
    model = random_model(data, small_config())
    features = torch.arange(21.0).reshape(3, 7)
    inputs = model.listen_inputs(torch.tensor([7, 8, 99]), features)
    assert inputs.shape == (3, 6 + 1 + 7)
    assert np.array_equal(inputs[0, :6].numpy(), data.vectors[7])
    assert not inputs[1:, :6].any() and inputs[:, 6].tolist() == [0, 1, 1]
    assert torch.equal(inputs[:, 7:], features)


def test_a_prediction_does_not_see_its_own_listen_or_a_later_one(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, small_config())
    everything = batch._replace(target_BT=torch.ones_like(batch.target_BT))
    before = predict(model, everything).y_ND.reshape(*batch.track_BT.shape, -1)
    at = 3
    track, features = batch.track_BT.clone(), batch.features_BTF.clone()
    track[:, at] = (track[:, at] + 1) % 8
    features[:, at:] += 1
    after = predict(model, everything._replace(track_BT=track, features_BTF=features)).y_ND.reshape(before.shape)
    assert torch.equal(before[:, : at + 1], after[:, : at + 1])
    assert (before[:, at + 1 :] != after[:, at + 1 :]).any(dim=-1).all()


def test_in_training_whole_chunks_lose_a_side_and_in_evaluation_none(data: Dataset, batch: ChunkBatch) -> None:
    everything = batch._replace(target_BT=torch.ones_like(batch.target_BT))
    shape = (*batch.track_BT.shape, -1)
    torch.manual_seed(0)
    for dropped, off in (("fast_dropout", "fast"), ("slow_dropout", "slow")):
        rates = {"fast_dropout": 0.0, "slow_dropout": 0.0, dropped: 0.5}
        model = random_model(data, small_config(**rates))
        without = predict(random_model(data, small_config(**{off: OFF[off]})), everything).y_ND.reshape(shape)
        with_both = predict(model, everything).y_ND.reshape(shape)
        assert torch.equal(predict(model, everything).y_ND.reshape(shape), with_both)
        model.train()
        found = [predict(model, everything).y_ND.reshape(shape) for _ in range(20)]
        tells = [n for n in range(shape[0]) if not torch.allclose(without[n], with_both[n], atol=1e-3)]
        assert len(tells) >= 6  # the others are of days before which nothing was known
        lost = sum(torch.allclose(chunks[n], without[n], atol=1e-6) for chunks in found for n in tells)
        kept = sum(torch.allclose(chunks[n], with_both[n], atol=1e-6) for chunks in found for n in tells)
        assert lost + kept == 20 * len(tells) and min(lost, kept) > 0.35 * (lost + kept)


def test_the_model_config_is_all_that_a_bundle_needs_to_build_it_again(data: Dataset, batch: ChunkBatch) -> None:
    model = random_model(data, small_config())
    other = FSVAENetwork(model.config, model.tracks[:-1], model.slow.mean, model.slow.std)
    other.load_state_dict(model.state_dict())
    assert torch.equal(predict(other.eval(), batch).y_ND, predict(model, batch).y_ND)


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.betas: list[tuple[int, float, float]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: TrainingModule, batch: object, batch_idx: int
    ) -> None:  # type: ignore[override]
        assert isinstance(pl_module.model, FSVAENetwork)
        beta = pl_module.model.beta(pl_module.epochs_done())
        self.betas.append((trainer.global_step, beta, trainer.optimizers[0].param_groups[0]["lr"]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:  # type: ignore[override]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append(metrics | pl_module.epoch_means())


def fit(data: Dataset, config: ModelConfig, optimiser: OptimiserConfig, epochs: int) -> tuple[FSVAENetwork, Losses]:
    torch.manual_seed(0)
    slow = torch.from_numpy(all_slow(data))
    model = FSVAENetwork(config, torch.from_numpy(data.vectors), slow.mean(dim=0), slow.std(dim=0) + 1)
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
    )
    trainer.fit(TrainingModule(model, optimiser, seed=1), ChunkDataModule(data, config.history, 2, seed=1))
    return model.eval(), losses


def test_a_tiny_model_learns_a_tiny_dataset_by_heart() -> None:
    data = pattern()
    config = small_config(fast_hidden=24, latent_dim=16, decoder_hidden=32, slow_dropout=0.0, fast_dropout=0.0)
    model, losses = fit(data, config, OptimiserConfig(learning_rate=2e-2), epochs=15)
    first, last = losses.epochs[0], losses.epochs[-1]
    for name in ("train/loss", "train/nll", "train/softmax", "val/l2", "val/cosine"):
        assert last[name] < first[name] - 0.2 * abs(first[name]), name
    assert last["val/l2"] < 0.3
    chunks = training_chunks(data.listens, FOREVER, 4)
    batch = Batcher(data, chunks, catalogue_targets_only=True)[np.arange(len(chunks))]
    prediction = predict(model, batch._replace(target_BT=batch.target_BT & (torch.arange(8) > 0)))
    target = batch.track_BT[batch.target_BT & (torch.arange(8) > 0)]
    for point in (prediction.y_ND, prediction.query_ND):
        assert ((point @ model.tracks[:-1].T).argmax(dim=1) == target).float().mean() > 0.95


def test_beta_warms_up_step_by_step_and_the_learning_rate_rises_and_falls() -> None:
    config = small_config(beta=0.5, beta_warmup_epochs=2.0)
    optimiser = OptimiserConfig(learning_rate=0.01, warmup_share=0.25, final_share=0.1)
    _, losses = fit(pattern(), config, optimiser, epochs=4)
    steps = len(losses.betas)
    an_epoch = steps // 4
    assert steps == 4 * an_epoch and an_epoch > 5
    for step, beta, rate in losses.betas:
        assert beta == pytest.approx(0.5 * min(1, step / (2 * an_epoch)))
        done = (step - an_epoch) / (steps - an_epoch)
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
        assert rate == pytest.approx(0.01 * ((step + 1) / an_epoch if step < an_epoch else cosine))
    assert losses.betas[0][1] == 0 and losses.betas[-1][1] == 0.5


def test_without_a_warm_up_beta_is_there_from_the_start() -> None:
    _, losses = fit(pattern(), small_config(beta=0.3, beta_warmup_epochs=0.0), OptimiserConfig(), epochs=1)
    assert {beta for _, beta, _ in losses.betas} == {0.3}
    epoch = losses.epochs[0]
    total = epoch["train/nll"] + 0.3 * epoch["train/kl"] + 1.0 * epoch["train/softmax"]
    assert epoch["train/loss"] == pytest.approx(total, rel=1e-4)
