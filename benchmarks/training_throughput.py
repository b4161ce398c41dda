"""Training throughput beside the bare LSTM: next-track targets a second, on the same batches, in turns.

Run it with `make bench-train`. The bare LSTM is forward and backward of `torch.nn.LSTM` alone on the inputs of the very
same batches; training is all that Lightning does for them: gathering, both encoders, latent, decoder, loss, backward,
gradient clipping, optimiser, logging.
"""

from __future__ import annotations

import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table

from fsvae.data.chunks import ChunkBatch
from fsvae.data.datamodule import ChunkDataModule
from fsvae.data.dataset import Dataset, open_dataset
from fsvae.memory.supports import remember
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.module import TrainingModule
from pipelines.config.compose import load_config
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.simulation.simulate import simulate
from pipelines.tracking import git_commit

_ROUNDS = 5
_BATCHES = 120
_MODELS = ("paper", "default")


def main() -> None:
    """Measure every model of `_MODELS` and print a table."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(Path(folder))
        table = Table(title=f"training throughput, median of {_ROUNDS} rounds in turns, {_BATCHES} batches each")
        for heading in ("model", "bare LSTM, targets/s", "training, targets/s", "ratio", "ratios of the rounds"):
            table.add_column(heading, justify="left" if heading == "model" else "right")
        for name in _MODELS:
            table.add_row(name, *_measure(dataset, name))
    console.print(table)
    console.print(
        f"make bench-train · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · {platform.machine()}, "
        f"{torch.get_num_threads()} threads · torch {torch.__version__}"
    )


def _dataset(folder: Path) -> Dataset:
    config = load_config([f"workdir={folder}", "dataset.track2vec.epochs=1"])
    simulate(config.simulate, folder / "raw")
    ingest(Lake(folder / "lake"), config.source)
    prepare(Lake(folder / "lake"), config.dataset, config.seed, folder / "datasets")
    return open_dataset(folder / "datasets")


def _measure(dataset: Dataset, name: str) -> tuple[str, str, str, str]:
    config = load_config([f"model={name}"])
    torch.manual_seed(config.seed)
    model = FSVAENetwork.for_dataset(dataset, config.model)
    memory = remember(dataset).supports if model.has_memory else None
    data = ChunkDataModule(dataset, config.model.history, config.train.batch_listens, config.seed, memory=memory)
    batches = [batch for batch, _ in zip(data.train_dataloader(), range(_BATCHES), strict=False)]
    targets = sum(int(batch.target_BT.sum()) for batch in batches)

    def train() -> None:
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=_BATCHES,
            limit_val_batches=0,
            gradient_clip_val=config.train.gradient_clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(TrainingModule(model, config.train.optimiser, config.seed), data)

    bare, full = [], []
    _bare_lstm(model, batches[:2])  # warm up
    for _ in range(_ROUNDS):
        bare.append(targets / _seconds(lambda: _bare_lstm(model, batches)))
        full.append(targets / _seconds(train))
    ratios = [f / b for f, b in zip(full, bare, strict=True)]
    return (
        f"{statistics.median(bare):,.0f}",
        f"{statistics.median(full):,.0f}",
        f"{statistics.median(ratios):.2f}",
        " ".join(f"{ratio:.2f}" for ratio in ratios),
    )


def _bare_lstm(model: FSVAENetwork, batches: list[ChunkBatch]) -> None:
    lstm = torch.nn.LSTM(
        model.fast.lstm.input_size, model.fast.lstm.hidden_size, model.fast.lstm.num_layers, batch_first=True
    )
    for batch in batches:
        with torch.no_grad():
            x_BTX = model.listen_inputs(batch.track_BT, batch.features_BTF)[:, :-1]
        lstm.zero_grad()
        lstm(x_BTX)[0].sum().backward()


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
