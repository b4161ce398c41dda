"""RecBole's GRU4Rec and SASRec, in an environment of their own: python recbole_models.py FOLDER MODEL SEED.

RecBole is given every position as a row of its own (the listens before it, and the listen), which is what it makes of
a history itself, but cut by time and not one out of each history.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_logger, init_seed

EPOCHS = 12
MINUTES = 20


class TimeUpError(Exception):
    """Raised behind the epoch in which the time for training ended."""


def main(folder: Path, name: str, seed: int) -> None:
    """Train a model and write the rank of each test position's target."""
    os.chdir(folder)  # where RecBole leaves its logs
    data = np.load(folder / "listens.npz")
    _write_rows(folder / "recbole", data)
    config = Config(
        model=name,
        dataset="recbole",
        config_dict={
            "data_path": str(folder),
            "benchmark_filename": ["train", "valid", "test"],
            "USER_ID_FIELD": "session_id",
            "ITEM_ID_FIELD": "item_id",
            "load_col": {"inter": ["session_id", "item_id_list", "item_id"]},
            "alias_of_item_id": ["item_id_list"],
            "MAX_ITEM_LIST_LENGTH": int(data["history"]),
            "train_neg_sample_args": None,
            "loss_type": "CE",
            "epochs": EPOCHS,
            "stopping_step": 3,
            "train_batch_size": 512,
            "eval_batch_size": 1024,
            "valid_metric": "MRR@10",
            "checkpoint_dir": str(folder / "saved"),
            "seed": seed,
            "use_gpu": False,
            "show_progress": False,
            "state": "WARNING",
        },
    )
    init_seed(seed, reproducibility=True)
    init_logger(config)
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    network = get_model(name)(config, train.dataset)
    trainer = Trainer(config, network)
    began = time.perf_counter()

    def watch_the_clock(epoch: int, score: float) -> None:
        ended_by_itself = epoch + 1 == EPOCHS or trainer.cur_step > trainer.stopping_step
        if time.perf_counter() - began > 60 * MINUTES and not ended_by_itself:
            raise TimeUpError

    why = ""
    try:
        trainer.fit(train, valid, verbose=False, callback_fn=watch_the_clock)
    except TimeUpError:
        why = ", time is up"
    seconds = time.perf_counter() - began
    epochs = len(trainer.train_loss_dict)
    best = torch.load(trainer.saved_model_file, weights_only=False)
    network.load_state_dict(best["state_dict"])
    np.save(folder / "ranks.npy", _ranks(network, dataset, data))
    rows = len(train.dataset)
    said = {"history": str(data["history"]), "epochs": f"best of {epochs}{why}"}
    print(json.dumps(said | {"seconds": seconds, "targets_per_second": rows * epochs / seconds}))  # noqa: T201


def _write_rows(folder: Path, data: Any) -> None:
    """Write the rows of train, validation and test; those of the test have the order of the test positions."""
    folder.mkdir(exist_ok=True)
    user, track, played_at = data["user"], data["track"].astype(str), data["played_at"]
    window = int(data["history"])
    in_history = np.arange(len(user)) - data["offset"][user]
    trained = np.flatnonzero((played_at < data["train_until"]) & (in_history > 0))
    watched = np.flatnonzero(
        (played_at >= data["train_until"]) & (played_at < data["validation_until"]) & (in_history > 0)
    )
    for part, targets in (("train", trained), ("valid", watched), ("test", data["test"][in_history[data["test"]] > 0])):
        lines = ["session_id:token\titem_id_list:token_seq\titem_id:token"]
        for target in targets:
            seen = track[target - min(in_history[target], window) : target]
            lines.append(f"{target}\t{' '.join(seen)}\t{track[target]}")
        (folder / f"recbole.{part}.inter").write_text("\n".join(lines) + "\n")


@torch.inference_mode()
def _ranks(network: Any, dataset: Any, data: Any) -> Any:
    """Return the rank of each test position's target among all tracks; ties count against it."""
    from recbole.data.interaction import Interaction

    network.eval()
    test, window = data["test"], int(data["history"])
    in_history = test - data["offset"][data["user"][test]]
    known = dataset.field2token_id["item_id"]
    number = np.array([known.get(str(track), 0) for track in range(int(data["n_catalogue"]))])
    item = number[data["track"]]
    ranks = np.full(len(test), int(data["n_catalogue"]))
    asked = np.flatnonzero((in_history > 0) & (item[test] > 0))
    for begin in range(0, len(asked), 1_000):
        rows = asked[begin : begin + 1_000]
        length = np.minimum(in_history[rows], window)
        seen = np.zeros((len(rows), window), dtype=np.int64)
        for row, (target, n) in enumerate(zip(test[rows], length, strict=True)):
            seen[row, :n] = item[target - n : target]
        scores = network.full_sort_predict(
            Interaction({"item_id_list": torch.from_numpy(seen), "item_length": torch.from_numpy(length)})
        )[:, 1:]  # the first is padding
        target_score = scores.gather(1, torch.from_numpy(item[test[rows]])[:, None] - 1)
        ranks[rows] = (scores >= target_score).sum(dim=1).numpy()
    return ranks


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
