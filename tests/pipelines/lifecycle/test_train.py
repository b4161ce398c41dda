"""Training: repeatable, resumed to the bit where it was killed, and on record."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch
from filelock import FileLock
from plain_model import PLAIN
from safetensors.torch import load_file

from fsvae.bundle import load_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.models.model_config import ModelConfig
from fsvae.models.train_config import OptimiserConfig, TrainConfig
from fsvae.results_version import RESULTS_VERSION
from pipelines.config.lifecycle_config import TrackingConfig
from pipelines.lifecycle.train import Run, is_trained, open_run, run_name, train
from pipelines.tracking import Tracker, git_commit

SEED = 3
MODEL = ModelConfig(
    **{**PLAIN, "softmax_weight": 1.0, "slow_dropout": 0.2},
    history=16,
    slow_hidden=16,
    slow_dim=8,
    fast_hidden=16,
    latent_dim=8,
    decoder_hidden=16,
    fast_dropout=0.2,
)
TRAIN = TrainConfig(refit=False, max_epochs=3, batch_listens=2048, optimiser=OptimiserConfig(learning_rate=5e-3))


class Told:
    """What training told of its epochs."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.l2: list[float] = []

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epochs.append(epoch)
        self.l2.append(metrics["val/l2"])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def tracker(workdir: Path) -> Tracker:
    return Tracker(TrackingConfig(), workdir)


@pytest.fixture(scope="module")
def client(tracker: Tracker) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracker.uri, tracker.uri)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def run(small_dataset: Dataset, workdir: Path, tracker: Tracker, told: Told) -> Run:
    """The undisturbed run; nothing else has been registered before it."""
    return train(small_dataset, MODEL, TRAIN, SEED, workdir / "runs", tracker, told, show_progress=False)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.bundle / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_tells_of_each_epoch_and_learns(run: Run, told: Told) -> None:
    assert told.epochs == [1, 2, 3] and run.epochs == 3
    assert told.l2[-1] < told.l2[0]
    info = load_bundle(run.bundle).info
    assert info["val_l2"] == pytest.approx(min(told.l2))
    assert info["run_id"] == run.run_id and info["seed"] == SEED and info["git_commit"] == git_commit()


def checkpoint(run: Run, name: str) -> dict[str, torch.Tensor]:
    """The model's weights in a checkpoint, by their names in a bundle."""
    stored = torch.load(run.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return {key.removeprefix("model."): tensor for key, tensor in stored.items()}


def test_a_finished_run_is_returned_without_training_it_again(
    run: Run, small_dataset: Dataset, workdir: Path, tracker: Tracker
) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if ".lock" not in path.name}

    before = written()
    again = Told()
    found = train(small_dataset, MODEL, TRAIN, SEED, workdir / "runs", tracker, again, show_progress=False)
    assert found == run and found.reused and found.lines()[0] == "trained before"
    assert again.epochs == [] and not run.reused
    assert written() == before
    assert open_run(workdir / "runs") == run == open_run(workdir / "runs", run.folder.name)


def test_a_run_of_an_older_version_of_the_code_does_not_count_as_done(
    run: Run, small_dataset: Dataset, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = (small_dataset, MODEL, TRAIN, SEED)
    assert is_trained(*what, workdir / "runs") and run_name(*what) == run.folder.name
    monkeypatch.setattr("pipelines.lifecycle.train.RESULTS_VERSION", RESULTS_VERSION + 1)
    assert not is_trained(*what, workdir / "runs") and run_name(*what) != run.folder.name


def test_the_mlflow_run_says_what_was_trained_on_what_and_how_it_went(
    run: Run, small_dataset: Dataset, client: mlflow.MlflowClient
) -> None:
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    params = found.data.params
    assert params["dataset"] == small_dataset.fingerprint and params["git_commit"] == git_commit()
    assert params["seed"] == str(SEED) and params["model.history"] == "16"
    assert params["train.optimiser.learning_rate"] == "0.005"
    metrics = found.data.metrics
    expected = {"train/loss", "train/kl", "train/nll", "train/softmax", "train/beta", "train/targets_per_second"}
    expected |= {"val/l2", "val/cosine", "val/kl", "val/nll", "lr-AdamW"}
    assert expected <= metrics.keys()
    assert metrics["train/targets_per_second"] > 100 and metrics["train/kl"] > 0
    assert len(client.get_metric_history(run.run_id, "val/l2")) == 3
    rates = [point.value for point in client.get_metric_history(run.run_id, "lr-AdamW")]
    assert 0 < min(rates) < max(rates) <= 0.005


def test_the_first_version_is_the_champion_and_its_files_are_the_bundle(
    run: Run, tracker: Tracker, client: mlflow.MlflowClient
) -> None:
    version = client.get_model_version_by_alias("fsvae", "champion")
    assert int(version.version) == run.version == tracker.resolve(None) == 1
    assert version.run_id == run.run_id
    stored = tracker.bundle(run.version)
    ours = {path.name: path.read_bytes() for path in run.bundle.iterdir()}
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == ours


def test_no_file_of_a_bundle_is_a_pickle(run: Run) -> None:
    files = {path.name: path.read_bytes() for path in run.bundle.iterdir()}
    assert set(files) == {"model.safetensors", "tracks.parquet", "users.parquet", "heard.parquet", "bundle.json"}
    json.loads(files["bundle.json"])
    header = int.from_bytes(files["model.safetensors"][:8], "little")
    assert json.loads(files["model.safetensors"][8 : 8 + header])
    for name in ("tracks.parquet", "users.parquet", "heard.parquet"):
        assert files[name][:4] == files[name][-4:] == b"PAR1"


def test_the_same_config_and_seed_give_the_same_weights_elsewhere(
    run: Run, small_dataset: Dataset, tracker: Tracker, tmp_path: Path
) -> None:
    torch.manual_seed(99)  # nothing of before may matter
    other = train(small_dataset, MODEL, TRAIN, SEED, tmp_path / "runs", tracker, Told(), show_progress=False)
    assert other.folder.name == run.folder.name and other.folder != run.folder
    assert same(weights(other), weights(run))
    for name in ("tracks.parquet", "users.parquet", "heard.parquet"):
        assert (other.bundle / name).read_bytes() == (run.bundle / name).read_bytes()


def test_another_seed_is_another_run_with_other_weights(
    run: Run, small_dataset: Dataset, tracker: Tracker, workdir: Path, tmp_path: Path
) -> None:
    config = replace(TRAIN, max_epochs=1)
    one, other = (
        train(small_dataset, MODEL, config, seed, tmp_path / "runs", tracker, Told(), show_progress=False)
        for seed in (SEED, SEED + 1)
    )
    assert len({run.folder.name, one.folder.name, other.folder.name}) == 3
    assert not torch.equal(weights(one)["latent.mean.weight"], weights(other)["latent.mean.weight"])
    assert open_run(tmp_path / "runs") == other
    assert tracker.resolve(None) == run.version  # a later version is a challenger


CHILD = """
import sys
from pathlib import Path

from fsvae.data.dataset import open_dataset
from pipelines.tracking import Tracker, TrackingConfig
from pipelines.lifecycle.train import train
from test_train import MODEL, SEED, TRAIN

datasets, workdir, runs = map(Path, sys.argv[1:])


def on_epoch(epoch, metrics):
    print("epoch", epoch, flush=True)
    if epoch == 2:
        sys.stdin.read()  # hold still until the signal comes


train(open_dataset(datasets), MODEL, TRAIN, SEED, runs, Tracker(TrackingConfig(), workdir), on_epoch, False)
"""


@pytest.fixture
def killed(run: Run, small_datasets: Path, workdir: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of runs of a training process that was killed in its second epoch."""
    here = Path(__file__).resolve().parent
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(small_datasets), str(workdir), str(tmp_path / "runs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
        env={
            "PYTHONPATH": f"{here}:{here.parents[1]}:{here.parents[2]}",
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "PATH": "",
        },
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        epochs = []
        for line in iter(process.stdout.readline, ""):
            epochs += [line.strip()] if line.startswith("epoch") else []
            if epochs[-1:] == ["epoch 2"]:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        assert epochs == ["epoch 1", "epoch 2"]
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
    yield tmp_path / "runs"


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(
    killed: Path, run: Run, small_dataset: Dataset, tracker: Tracker, client: mlflow.MlflowClient, told: Told
) -> None:
    folder = killed / run.folder.name
    assert (folder / "checkpoints" / "last.ckpt").exists() and not (folder / "run.json").exists()
    with pytest.raises(UserError, match="no finished run there"):
        open_run(killed, run.folder.name)
    started = json.loads((folder / "mlflow.json").read_text())["run_id"]
    rest, goes_on_from = Told(), []
    with warnings.catch_warnings(record=True) as warned:
        resumed = train(small_dataset, MODEL, TRAIN, SEED, killed, tracker, rest, False, goes_on_from.append)
    assert not [warning for warning in warned if "not empty" in str(warning.message)]
    assert rest.epochs == [2, 3] and rest.l2 == told.l2[1:] and goes_on_from == [2]
    assert resumed.epochs == run.epochs
    assert same(weights(resumed), weights(run))
    last, undisturbed = (
        torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (resumed.folder, run.folder)
    )
    assert same(last["state_dict"], undisturbed["state_dict"])
    assert last["global_step"] == undisturbed["global_step"]
    assert resumed.run_id == started and client.get_run(started).info.status == "FINISHED"
    assert {p.step for p in client.get_metric_history(started, "val/l2")} == {
        p.step for p in client.get_metric_history(run.run_id, "val/l2")
    }


def test_a_run_that_was_killed_after_it_had_stopped_early_does_not_train_on(
    small_dataset: Dataset, tracker: Tracker, tmp_path: Path
) -> None:
    optimiser = OptimiserConfig(learning_rate=0.3, warmup_share=0.0)
    config = replace(TRAIN, max_epochs=9, patience=1, batch_listens=512, optimiser=optimiser)
    told, again = Told(), Told()
    first = train(small_dataset, MODEL, config, SEED, tmp_path, tracker, told, show_progress=False)
    assert 2 <= first.epochs < 9 and first.epochs == len(told.epochs)
    assert told.l2[-1] >= min(told.l2[:-1])
    expected = weights(first)
    assert same(checkpoint(first, "best"), expected)  # the bundle is of the best epoch, not of the last
    assert not same(checkpoint(first, "last"), expected)
    (first.folder / "run.json").unlink()
    shutil.rmtree(first.bundle)
    second = train(small_dataset, MODEL, config, SEED, tmp_path, tracker, again, show_progress=False)
    assert again.epochs == [] and second == first
    assert same(weights(second), expected)


def test_ctrl_c_says_how_far_the_run_is_and_the_next_one_goes_on_from_there(
    run: Run, small_dataset: Dataset, tracker: Tracker, tmp_path: Path, told: Told
) -> None:
    class Interrupting(Told):
        def __init__(self, epoch: int) -> None:
            super().__init__()
            self._epoch = epoch

        def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
            super().__call__(epoch, metrics)
            if epoch == self._epoch:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="interrupted in the first epoch; the same command begins again"):
        train(small_dataset, MODEL, TRAIN, SEED, tmp_path, tracker, Interrupting(1), False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    goes_on_from: list[int] = []
    with pytest.raises(KeyboardInterrupt, match="interrupted after epoch 1; the same command goes on from there"):
        train(small_dataset, MODEL, TRAIN, SEED, tmp_path, tracker, Interrupting(2), False, goes_on_from.append)
    assert not is_trained(small_dataset, MODEL, TRAIN, SEED, tmp_path)
    rest = Told()
    resumed = train(small_dataset, MODEL, TRAIN, SEED, tmp_path, tracker, rest, False, goes_on_from.append)
    assert rest.epochs == [2, 3] and rest.l2 == told.l2[1:] and goes_on_from == [2]
    assert same(weights(resumed), weights(run))
    assert is_trained(small_dataset, MODEL, TRAIN, SEED, tmp_path)


def test_a_refitted_run_goes_on_in_its_second_fit_and_its_bundle_has_learned_validation_too(
    run: Run, small_dataset: Dataset, workdir: Path, tracker: Tracker, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    told: list[tuple[str, int]] = []
    stop_at: list[int] = []

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        told.append(("validated" if "val/l2" in metrics else "refit", epoch))
        if stop_at == [epoch] and told[-1][0] == "refit":
            signal.raise_signal(signal.SIGINT)

    def refitted(runs: Path) -> Run:
        what = (small_dataset, MODEL, replace(TRAIN, refit=True), SEED, runs, tracker, on_epoch, False)
        return train(*what, lambda epoch: told.append(("resumed", epoch)), lambda n: told.append(("epochs", n)))

    undisturbed = refitted(workdir / "runs")
    first, second = [("validated", n) for n in (1, 2, 3)], [("refit", n) for n in (1, 2, 3)]
    assert told == [*first, ("epochs", 3), *second]
    assert undisturbed.folder != run.folder and undisturbed.epochs == run.epochs == undisturbed.refit_epochs == 3
    assert undisturbed.lines()[0].startswith("3 epochs, then 3 on training and validation together; registered as ")
    assert open_run(workdir / "runs", undisturbed.folder.name) == undisturbed
    info, once = load_bundle(undisturbed.bundle).info, load_bundle(run.bundle)
    assert info["dataset"] == f"{small_dataset.fingerprint}+validation" and info["val_l2"] == once.info["val_l2"]
    assert load_bundle(undisturbed.bundle).learned_until("validation") == small_dataset.period("test")[0]
    assert not same(weights(undisturbed), weights(run))
    assert (undisturbed.bundle / "tracks.parquet").read_bytes() == (run.bundle / "tracks.parquet").read_bytes()
    logged = client.get_run(undisturbed.run_id)
    assert logged.info.status == "FINISHED" and {"train/loss", "refit-train/loss"} <= logged.data.metrics.keys()
    assert len(client.get_metric_history(undisturbed.run_id, "val/l2")) == 3

    stop_at.append(2)
    with pytest.raises(KeyboardInterrupt, match="after epoch 1 on training and validation together; the same command"):
        refitted(tmp_path)
    told.clear()
    stop_at.clear()
    resumed = refitted(tmp_path)
    assert told == [("epochs", 3), ("resumed", 2), *second[1:]]
    assert same(weights(resumed), weights(undisturbed))


def test_a_finished_run_is_registered_again_where_the_store_is_new(
    run: Run, small_dataset: Dataset, workdir: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "runs" / run.folder.name)
    new = Tracker(TrackingConfig(), tmp_path)
    again = Told()
    found = train(small_dataset, MODEL, TRAIN, SEED, tmp_path / "runs", new, again, show_progress=False)
    assert again.epochs == [] and found.epochs == run.epochs and found.run_id != run.run_id
    assert new.champion() == found.version == 1 == new.version_of(found.run_id)
    assert [version.run for version in new.versions()] == [run.folder.name]
    assert (new.bundle(1) / "model.safetensors").read_bytes() == (run.bundle / "model.safetensors").read_bytes()
    assert train(small_dataset, MODEL, TRAIN, SEED, tmp_path / "runs", new, again, show_progress=False) == found
    assert len(new.versions()) == 1


def test_an_interrupted_run_goes_on_where_the_store_is_new(
    killed: Path, run: Run, small_dataset: Dataset, tmp_path: Path
) -> None:
    rest = Told()
    new = Tracker(TrackingConfig(), tmp_path / "new")
    resumed = train(small_dataset, MODEL, TRAIN, SEED, killed, new, rest, show_progress=False)
    assert rest.epochs == [2, 3] and same(weights(resumed), weights(run))
    assert [(version.number, version.aliases) for version in new.versions()] == [(1, ["challenger", "champion"])]


def test_the_same_run_is_not_trained_by_two_at_once(
    run: Run, small_dataset: Dataset, workdir: Path, tracker: Tracker
) -> None:
    with (
        FileLock(run.folder / ".lock"),
        pytest.raises(UserError, match="another training of this very run is at work here"),
    ):
        train(small_dataset, MODEL, TRAIN, SEED, workdir / "runs", tracker, Told(), show_progress=False)


def test_no_run_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Train one: fsvae train"):
        open_run(tmp_path)


def test_a_name_that_is_no_run_is_answered_with_the_newest_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run nope there\. .*: none: fsvae train makes one\."):
        open_run(tmp_path, "nope")
    for age, name in enumerate(("f", "a", "e", "b", "d", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        os.utime(tmp_path / name / "run.json", (1_000 - age, 1_000 - age))
    (tmp_path / "interrupted").mkdir()
    with pytest.raises(
        UserError, match=r"no run nope there\. .* the newest first: f, a, e, b, d\. See also: fsvae runs"
    ):
        open_run(tmp_path, "nope")
    with pytest.raises(UserError, match="interrupted: no finished run there"):
        open_run(tmp_path, "interrupted")
