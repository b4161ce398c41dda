"""Quality, training targets a second and peak memory of our models and of RecTools' and RecBole's, in one run.

Run it with `make bench-peers`. Each library has an environment of its own (.peers/), each model is a process of its own
with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import measure
from benchmarks.peers.listens import write_listens
from fsvae.evaluation.metrics import ndcg, recall, reciprocal_rank
from pipelines.config.compose import load_config
from pipelines.ingest.ingest import ingest
from pipelines.prepare.prepare import prepare
from pipelines.tracking import git_commit
from pipelines.workspace import Workspace

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = Path(".peers")
MODELS = [
    ("FS-VAE", "ours", "fsvae"),
    ("FS-VAE, one epoch, not ranked again", "ours", "fsvae:1"),
    ("GRU4Rec (ours)", "ours", "gru4rec"),
    ("SASRec (ours)", "ours", "sasrec"),
    ("RecTools SASRec", "rectools", "SASRec"),
    ("RecTools eSASRec", "rectools", "eSASRec"),
    ("RecBole GRU4Rec", "recbole", "GRU4Rec"),
    ("RecBole SASRec", "recbole", "SASRec"),
]
HEADINGS = ("model", "R@1", "R@10", "NDCG@10", "MRR", "listens read", "epochs", "training, s", "targets/s", "peak, GiB")


def main() -> None:
    """Prepare the dataset, run every model, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", help="a log in JODIE's format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[""], help="models whose name holds one of these")
    arguments = parser.parse_args()
    console = Console(width=120)
    models = [model for model in MODELS if any(part in model[0] for part in arguments.only)]
    for library in {library for _, library, _ in models} - {"ours"}:
        _environment(library)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = Workspace(load_config([f"workdir={folder}", "source=jodie", f"source.path={arguments.log}"]))
        ingest(workspace.lake(), workspace.config.source)
        prepare(workspace.lake(), workspace.config.dataset, workspace.config.seed, workspace.datasets)
        targets = write_listens(workspace.dataset(), folder / "listens.npz")
        table = Table(title=f"{len(targets):,} test positions; one thread each", title_justify="left")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "model" else "right")
        for title, library, model in models:
            measured = measure(
                [*_command(library), name, model, str(arguments.seed)], os.environ | {"OMP_NUM_THREADS": "1"}
            )
            said = json.loads(measured.output.splitlines()[-1])
            ranks = np.load(folder / "ranks.npy").astype(np.int64)
            assert len(ranks) == len(targets), title
            quality = (recall(ranks, 1), recall(ranks, 10), ndcg(ranks, 10), reciprocal_rank(ranks))
            figures = [f"{values.mean():.3f}" for values in quality]
            table.add_row(
                title,
                *figures,
                said["history"],
                said["epochs"],
                f"{said['seconds']:,.0f}",
                f"{said['targets_per_second']:,.0f}",
                f"{measured.peak_gib:.2f}",
            )
            console.print(f"{title}: {' '.join(figures)}, {said['seconds']:,.0f} s of training")
    console.print(table)
    console.print(
        "listens read: the latest ones before a position. epochs: the weights are those of the best one at the "
        "validation positions, or of the last one; RecBole's time is up after 20 minutes. In ours most listens are "
        "twice in an epoch, with a short and with a long history. Peers learn the same training listens; what they "
        "cannot be told is in docs/experiments.md."
    )
    console.print(
        f"make bench-peers · commit {git_commit()[:12]} · {datetime.now(UTC):%Y-%m-%d} · "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )


def _environment(library: str) -> None:
    """Make a library's environment, unless it is there with these requirements."""
    requirements = HERE / f"requirements-{library}.txt"
    done = ENVIRONMENTS / library / "installed.txt"
    if done.exists() and done.read_bytes() == requirements.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENTS / library)], check=True)
    pip = [str(ENVIRONMENTS / library / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)
    done.write_bytes(requirements.read_bytes())


def _command(library: str) -> list[str]:
    if library == "ours":
        return [sys.executable, "-m", "benchmarks.peers.our_models"]
    return [str(ENVIRONMENTS / library / "bin" / "python"), "-W", "ignore", str(HERE / f"{library}_models.py")]


if __name__ == "__main__":
    main()
