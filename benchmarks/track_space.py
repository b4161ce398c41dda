"""Hyper-parameters of the track space by a cheap proxy: next-track retrieval without a model, validation period.

    python -m benchmarks.track_space work/datasets                      # one factor at a time from the defaults
    python -m benchmarks.track_space work/datasets -s ns_exponent=0,window=10 -s epochs=40
    python -m benchmarks.track_space sessions.parquet --listens 300000  # session_id, position, track_id

Two queries before each listen: the mean of the 10 latest tracks (the Aggregate sequence baseline) and the latest track
alone. Why these factors: Caselles-Dupré, Lesaint and Royo-Letelier, "Word2vec applied to recommendation:
hyperparameters matter", RecSys 2018.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from rich.console import Console

from fsvae.data.dataset import open_dataset
from fsvae.data.listens import Listens
from fsvae.evaluation.metrics import pessimistic_ranks, recall, reciprocal_rank
from fsvae.features.clock import DAY_US
from fsvae.features.corpus import Corpus, TrainingSessions
from fsvae.features.track2vec import train_track_vectors
from fsvae.features.track2vec_config import Track2VecConfig

_FACTORS = {
    "ns_exponent": ("-0.5", "0", "0.5", "0.75"),
    "window": ("3", "5", "10"),
    "sample": ("0", "0.0001", "0.001"),
    "epochs": ("5", "10", "20"),
    "negative": ("5", "10"),
}
_MIN_COUNT = 5
_QUERIES = {"mean of 10": 10, "last track": 1}


@dataclass(frozen=True)
class Log:
    """A log with its cuts."""

    listens: Listens
    n_catalogue: int
    train_until_us: int
    validation_until_us: int

    @property
    def corpus(self) -> Corpus:
        """Return the sessions of the training period."""
        rows = (self.listens.offsets, self.listens.track, self.listens.played_at)
        return Corpus(TrainingSessions([rows], self.train_until_us, self.n_catalogue))

    def targets(self) -> NDArray[np.int64]:
        """Return the validation positions of catalogue tracks."""
        at = self.listens.played_at
        inside = (at >= self.train_until_us) & (at < self.validation_until_us)
        return np.flatnonzero(inside & (self.listens.track < self.n_catalogue))


def prepared(path: Path) -> Log:
    """Return the log of a prepared dataset."""
    dataset = open_dataset(path)
    return Log(dataset.listens, dataset.n_catalogue, *dataset.period("validation"))


def anonymous_sessions(path: Path, n_listens: int) -> Log:
    """Return the first listens of a file of sessions without users or times: each session a user with a day of its own.

    The last tenth of the sessions is the validation period.
    """
    rows = pl.read_parquet(path).sort("session_id", "position").head(n_listens)
    rows = rows.with_columns(pl.col("session_id").rle_id().cast(pl.Int64).alias("user"))
    n_users = int(rows["user"].max()) + 1  # type: ignore[arg-type]
    cut = n_users * 9 // 10
    counts = rows.group_by("track_id").agg((pl.col("user") < cut).sum().alias("n"))
    counts = counts.sort(["n", "track_id"], descending=[True, False]).with_row_index("track")
    rows = rows.join(counts, on="track_id", maintain_order="left")
    user = rows["user"].to_numpy()
    listens = Listens(
        offsets=np.searchsorted(user, np.arange(n_users + 1)),
        track=rows["track"].to_numpy().astype(np.int32),
        played_at=user * DAY_US,
        played_fraction=np.ones(len(user), dtype=np.float32),
    )
    return Log(listens, int((counts["n"] >= _MIN_COUNT).sum()), cut * DAY_US, n_users * DAY_US)


def measure(log: Log, vectors: NDArray[np.float32], window: int) -> tuple[float, float]:
    """Return Recall@10 and MRR of the mean of the `window` listens before; without any, the target is a miss."""
    listens, target = log.listens, log.targets()
    known = listens.track < log.n_catalogue
    sums = np.zeros((len(listens) + 1, vectors.shape[1]))
    np.cumsum(vectors[np.where(known, listens.track, 0)] * known[:, None], axis=0, out=sums[1:])
    since = np.maximum(target - window, listens.offsets[listens.user[target]])
    wanted = listens.track[target].astype(np.int64)
    query = (sums[target] - sums[since]).astype(np.float32)
    ranks = [
        pessimistic_ranks(query[begin : begin + 1024] @ vectors.T, wanted[begin : begin + 1024])
        for begin in range(0, len(target), 1024)
    ]
    flat = np.concatenate(ranks)
    return float(recall(flat, 10).mean()), float(reciprocal_rank(flat).mean())


def main(
    log: Annotated[Path, typer.Argument(help="folder of prepared datasets, or a Parquet file of sessions")],
    setting: Annotated[list[str] | None, typer.Option("-s", help="key=value[,key=value]; default: one factor")] = None,
    listens: Annotated[int, typer.Option(help="how many listens of a file of sessions")] = 300_000,
    seed: int = 1,
) -> None:
    """Print one line a setting: Recall@10 and MRR of both queries, and the seconds of the training."""
    console = Console(width=140)
    data = prepared(log) if log.is_dir() else anonymous_sessions(log, listens)
    console.print(f"{log}: {data.n_catalogue:,} tracks, {len(data.targets()):,} targets, seed {seed}", highlight=False)
    for text in setting if setting is not None else _one_factor():
        config = _config(text)
        began = time.perf_counter()
        vectors = train_track_vectors(data.corpus, data.n_catalogue, config, seed)
        seconds = time.perf_counter() - began
        figures = [figure for window in _QUERIES.values() for figure in measure(data, vectors, window)]
        line = " ".join(f"{figure:.4f}" for figure in figures)
        console.print(f"{text or 'defaults':40} {line} {seconds:6.1f} s", highlight=False)


def _config(text: str) -> Track2VecConfig:
    default = Track2VecConfig()
    values = dict(pair.split("=") for pair in text.split(",") if pair)
    return replace(default, **{key: type(getattr(default, key))(value) for key, value in values.items()})


def _one_factor() -> list[str]:
    default = Track2VecConfig()
    return [""] + [
        f"{name}={value}"
        for name, values in _FACTORS.items()
        for value in values
        if float(value) != getattr(default, name)
    ]


if __name__ == "__main__":
    typer.run(main)
