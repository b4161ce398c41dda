"""What learns from the validation period: a second fit, or gates and ranker; from what, and how it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_dataset import FIRST_DAY, History, dataset_of, small_config, unit_vectors

import fsvae
from fsvae.baselines import MarkovGlobal
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.protocol import evaluate_model
from fsvae.features.clock import DAY_US, HOUR_US
from fsvae.memory.contexts import EXPERTS
from fsvae.memory.supports import remember
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.predict import NetworkPredictor
from fsvae.models.refit import Trained, trained
from fsvae.models.train_config import TrainConfig
from fsvae.recommender import Recommender

A, B, C, D, E = range(5)
START = FIRST_DAY * DAY_US
TRAIN_UNTIL, VALIDATION_UNTIL = START + 5 * DAY_US, START + 7 * DAY_US
MEMORY = dict.fromkeys(("slow_memory", "fast_memory", "shared_memory"), True)
TRAIN = TrainConfig(max_epochs=3, batch_listens=64)


def histories(tested: tuple[int, ...], validated: tuple[int, ...]) -> dict[str, History]:
    """Six users play E once, then A, B, C, D in turn, and `validated` in turn; then `late` plays `tested`.

    Before the test period `late` has played A and D only.
    """
    found: dict[str, History] = {}
    for user in range(6):
        begin = START + user * 60_000_000
        trained = [(E, begin - HOUR_US)] + [((A, B, C, D)[n % 4], begin + n * 4 * HOUR_US) for n in range(28)]
        later = [(validated[n % len(validated)], TRAIN_UNTIL + begin - START + n * 4 * HOUR_US) for n in range(12)]
        found[f"u{user}"] = [*trained, *later, (A, VALIDATION_UNTIL + begin - START)]
    played = [(track, VALIDATION_UNTIL + HOUR_US * (n + 1)) for n, track in enumerate(tested)]
    return found | {"late": [(A, START + 7), (D, START + HOUR_US), *played]}


def data(tested: tuple[int, ...] = (C, E), validated: tuple[int, ...] = (C, E)) -> Dataset:
    return dataset_of(histories(tested, validated), unit_vectors(5, 6), TRAIN_UNTIL, VALIDATION_UNTIL)


def train(
    dataset: Dataset, folder: Path, config: TrainConfig = TRAIN, memory: bool = True, **how: object
) -> Trained[FSVAENetwork]:
    settings = small_config(**MEMORY, ranked=3) if memory else small_config()
    return trained(FSVAENetwork, dataset, settings, config, 1, folder, **how)  # type: ignore[arg-type]


def after_c(model: NetworkPredictor | Recommender, dataset: Dataset) -> list[float]:
    """The scores of all tracks for the last listen of `late`, before which C was played."""
    last = dataset.listens.offsets[-1] - 1
    parts = model.predict(dataset, *dataset.period("test"))
    (scores,) = (
        part.scores[part.targets == last] for part in parts if last in part.targets and part.scores is not None
    )
    return [float(score) for score in scores[0]]


def test_the_training_period_of_the_view_ends_where_validation_did() -> None:
    whole = data()
    view = whole.with_validation_learned()
    assert view.period("train") == (np.iinfo(np.int64).min, VALIDATION_UNTIL)
    assert view.period("validation") == (VALIDATION_UNTIL, VALIDATION_UNTIL)
    assert view.period("test") == whole.period("test")
    both = np.sort(np.concatenate([whole.targets("train"), whole.targets("validation")]))
    assert view.targets("train").tolist() == both.tolist() and len(view.targets("validation")) == 0
    assert view.fingerprint == f"{whole.fingerprint}+validation" and whole.fingerprint == "tiny"
    assert view.tracks is whole.tracks and view.vectors is whole.vectors
    assert view.with_validation_learned() is view


def test_a_counting_baseline_learns_what_followed_in_the_validation_period() -> None:
    """In training D follows C as often as E in validation."""
    dataset = data()
    before, after = (after_c(MarkovGlobal().fit(dataset, refit=refit), dataset) for refit in (False, True))
    assert before[E] < 0.01 < before[D] and after[E] > 0.01 and after[D] > 0.01


def test_the_memory_of_others_holds_what_followed_in_the_validation_period() -> None:
    dataset = data()
    last, expert = dataset.listens.offsets[-1] - 1, [expert.name for expert in EXPERTS].index("all: after 1")
    before, after = (remember(learned).supports for learned in (dataset, dataset.with_validation_learned()))
    assert (before.count_NE[last, expert], before.total_NE[last, expert]) == (0, 42)
    assert (after.count_NE[last, expert], after.total_NE[last, expert]) == (36, 78)


def test_a_model_with_a_memory_predicts_what_it_could_not_know_before(tmp_path: Path) -> None:
    dataset = data()
    config = replace(TRAIN, max_epochs=8, patience=8, batch_listens=32)
    first = fsvae.FSVAE(small_config(**MEMORY), config).fit(dataset, refit=False)
    second = fsvae.FSVAE(small_config(**MEMORY), config).fit(dataset)
    before, after = after_c(first, dataset), after_c(second, dataset)
    assert after[E] > 3 * before[E] and after[E] > 0.1
    assert first.learned_until("validation") == TRAIN_UNTIL
    assert second.learned_until("validation") == second.learned_until("test") == VALIDATION_UNTIL
    second.save(tmp_path)
    assert after_c(fsvae.load(tmp_path), dataset) == after


def test_what_has_learned_from_the_validation_period_is_not_evaluated_on_it() -> None:
    dataset = data()
    for model in (MarkovGlobal(), fsvae.baselines.GRU4Rec(train=replace(TRAIN, max_epochs=1))):
        model.fit(dataset)
        with pytest.raises(UserError, match=r"without the validation period: fit\(dataset, refit=False\)"):
            fsvae.evaluate(model, dataset, "validation")
        assert len(fsvae.evaluate(model, dataset))
        assert len(fsvae.evaluate(model.fit(dataset, refit=False), dataset, "validation"))


def test_a_network_is_refitted_only_where_its_settings_say_so_too() -> None:
    once = fsvae.baselines.GRU4Rec(train=replace(TRAIN, max_epochs=1, refit=False)).fit(data(), refit=True)
    assert once.learned_until("validation") == TRAIN_UNTIL


def test_the_second_fit_has_as_many_epochs_as_were_best_and_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    told: list[object] = []
    wild = replace(TRAIN, max_epochs=6, patience=2)
    found = train(
        data(),
        tmp_path,
        wild,
        memory=False,
        on_epoch=lambda epoch, metrics: told.append((epoch, metrics.get("val/l2"))),
        on_refit=lambda epochs: told.append(epochs),
    )
    place = next(place for place, what in enumerate(told) if isinstance(what, int))
    first, second = told[:place], told[place + 1 :]
    losses = [loss for _, loss in first]  # type: ignore[misc]
    best = losses.index(min(losses)) + 1
    assert told[place] == found.refit_epochs == best and found.best == min(losses) and found.epochs == len(first)
    assert second == [(epoch, None) for epoch in range(1, best + 1)]
    assert found.dataset.fingerprint == "tiny+validation"
    once = train(data(), tmp_path / "once", replace(wild, refit=False), memory=False)
    assert (once.epochs, once.best, once.refit_epochs, once.dataset.fingerprint) == (len(first), found.best, 0, "tiny")
    assert not same(once.network, found.network)
    steps = torch.load(tmp_path / "refit" / "last.ckpt", weights_only=True)["lr_schedulers"][0]["last_epoch"]
    assert steps == torch.load(tmp_path / "refit" / "last.ckpt", weights_only=True)["global_step"]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("memory", [True, False])
def test_no_listen_of_the_test_period_is_learned_from(memory: bool, tmp_path: Path) -> None:
    ours = train(data((C, E)), tmp_path / "ours", memory=memory)
    theirs = train(data((D, D, A, C, C)), tmp_path / "theirs", memory=memory)
    assert same(ours.network, theirs.network) and ours.best == theirs.best


@pytest.mark.parametrize(("phase", "epoch"), [(1, 2), (2, 1), (2, 2)])
def test_a_training_killed_in_either_fit_goes_on_there_and_ends_with_the_same_bits(
    phase: int, epoch: int, tmp_path: Path
) -> None:
    dataset = data(validated=(A, B, C, D))
    undisturbed = train(dataset, tmp_path / "undisturbed", memory=False)
    assert undisturbed.refit_epochs >= 2
    refits, epochs, resumed = [], [], []

    def killed(number: int, metrics: dict[str, float]) -> None:
        if (1 + len(refits), number) == (phase, epoch):
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(dataset, tmp_path / "killed", memory=False, on_epoch=killed, on_refit=refits.append)
    refits.clear()
    torch.manual_seed(99)  # nothing of before may matter
    again = train(
        dataset,
        tmp_path / "killed",
        memory=False,
        on_epoch=lambda number, metrics: epochs.append((1 + len(refits), number)),
        on_refit=refits.append,
        on_resume=lambda number: resumed.append((1 + len(refits), number)),
    )
    second = [(2, number) for number in range(1, undisturbed.refit_epochs + 1)]
    assert epochs == ([(1, 2), (1, 3), *second] if phase == 1 else second[epoch - 1 :])
    assert resumed == ([(phase, epoch)] if epoch > 1 else []) and refits == [undisturbed.refit_epochs]
    assert same(again.network, undisturbed.network)
    assert again[2:] == undisturbed[2:]
    assert evaluate_model(NetworkPredictor(again.network), again.dataset, "test").metrics() == pytest.approx(
        evaluate_model(NetworkPredictor(undisturbed.network), undisturbed.dataset, "test").metrics()
    )


def test_of_a_model_with_a_memory_only_gates_and_ranker_learn_from_the_validation_period(tmp_path: Path) -> None:
    told: list[int] = []
    once = train(data(), tmp_path / "once", replace(TRAIN, refit=False))
    found = train(data(), tmp_path / "both", on_refit=told.append)
    assert told == [0] and (found.refit_epochs, found.epochs, found.best) == (0, once.epochs, once.best)
    assert found.validation_learned and not once.validation_learned
    assert found.dataset.fingerprint == "tiny+validation" and once.dataset.fingerprint == "tiny"
    weights = found.network.state_dict()
    moved = {
        name.split(".")[0] for name, old in once.network.state_dict().items() if not torch.equal(old, weights[name])
    }
    assert moved == {"gates", "ranker"}


def test_a_training_killed_before_its_last_fits_ends_with_the_same_bits(tmp_path: Path) -> None:
    def killed(epochs: int) -> None:
        raise RuntimeError("killed")

    undisturbed = train(data(), tmp_path / "undisturbed")
    with pytest.raises(RuntimeError, match="killed"):
        train(data(), tmp_path / "killed", on_refit=killed)
    torch.manual_seed(99)  # nothing of before may matter
    epochs: list[int] = []
    again = train(data(), tmp_path / "killed", on_epoch=lambda number, metrics: epochs.append(number))
    assert not epochs and same(again.network, undisturbed.network) and again[2:] == undisturbed[2:]
