"""RecTools' SASRec and eSASRec, in an environment of their own: python rectools_models.py FOLDER MODEL SEED.

RecTools reads the last `session_max_len` listens of each user and no others. So each history is cut into pieces of that
many, and each piece is a user of its own: it then learns from all listens. A test position is a user of its own too,
whose history is what came before it. All tracks are asked for, so that every target has a rank.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from rectools.models.nn.transformers.ligr import LiGRLayers

EPOCHS = 30
AT_ONCE = 2_000

MODELS: dict[str, dict[str, Any]] = {
    "SASRec": {"loss": "softmax"},
    # Tikhonovich et al., RecSys 2025: SASRec with LiGR layers and a sampled softmax.
    "eSASRec": {"loss": "sampled_softmax", "n_negatives": 256, "transformer_layers_type": LiGRLayers},
}


def main(folder: Path, name: str, seed: int) -> None:
    """Train a model and write the rank of each test position's target."""
    data = np.load(folder / "listens.npz")
    user, track, order = data["user"], data["track"], np.arange(len(data["user"]))
    window = int(data["history"])
    before = data["played_at"] < data["train_until"]
    in_history = order - data["offset"][user]
    piece = np.unique(np.stack([user, in_history // window]), axis=1, return_inverse=True)[1].ravel()
    seed_everything(seed)
    model = SASRecModel(
        n_factors=128,
        session_max_len=window,
        batch_size=16,
        epochs=EPOCHS,
        item_net_block_types=(IdEmbeddingsItemNet,),
        recommend_torch_device="cpu",
        deterministic=True,
        **MODELS[name],
    )
    learned = dataset(piece[before], track[before], order[before])
    began = time.perf_counter()
    model.fit(learned)
    seconds = time.perf_counter() - began

    ranks = []
    for begin in range(0, len(data["test"]), AT_ONCE):
        targets = data["test"][begin : begin + AT_ONCE]
        length = np.minimum(in_history[targets], window)
        rows = np.concatenate([np.arange(t - n, t) for t, n in zip(targets, length, strict=True)])
        asked = np.repeat(np.arange(len(targets)), length)
        users = np.unique(asked)
        found = model.recommend(
            users, dataset(asked, track[rows], rows), k=int(data["n_catalogue"]), filter_viewed=False
        )
        wanted = track[targets][found[Columns.User].to_numpy()]
        hit = found[found[Columns.Item].to_numpy() == wanted]
        rank = np.full(len(targets), int(data["n_catalogue"]))  # a target without a history, or that it never learned
        rank[hit[Columns.User].to_numpy()] = hit[Columns.Rank].to_numpy()
        ranks.append(rank)
    np.save(folder / "ranks.npy", np.concatenate(ranks))
    # The first listen of a piece has nothing before it that the model sees.
    targets_an_epoch = int(before.sum()) - len(np.unique(piece[before]))
    said = {"history": str(window), "epochs": f"last of {EPOCHS}"}
    print(json.dumps(said | {"seconds": seconds, "targets_per_second": targets_an_epoch * EPOCHS / seconds}))  # noqa: T201


def dataset(user: Any, track: Any, order: Any) -> Dataset:
    """Return listens as RecTools wants them; its order is that of days, so a listen's place is its day."""
    frame = pd.DataFrame({Columns.User: user, Columns.Item: track, Columns.Weight: 1.0})
    frame[Columns.Datetime] = pd.to_datetime(order, unit="s")
    return Dataset.construct(frame)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
