"""A command imports nothing heavy before it needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pytorch_lightning", "mlflow", "ray", "matplotlib", "gensim", "sklearn", "optuna")
TIMES = [f"2026-01-0{1 + n // 10}T10:{n:02d}:00" for n in range(40)]
LOG = "user_id,track_id,played_at\n" + "\n".join(f"u{n % 3},t{n % 5},{time}" for n, time in enumerate(TIMES))


def imported(folder: Path, *arguments: str, status: int = 0) -> set[str]:
    """Packages that a command imports, by `python -X importtime`."""
    code = f"import sys; sys.argv = ['fsvae', *{list(arguments)!r}]; from pipelines.cli.main import main; main()"
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 100
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["config"], 0),
        (["simulate", "simulate.users=5", "simulate.days=2"], 0),
        (["ingest", "--source", "table", "log.csv"], 0),
        (["runs"], 2),
        (["train"], 2),  # nothing is prepared
        (["train", "model.histroy=3"], 2),
        (["ablate", "ablation=papr"], 2),
        (["tune", "tune=fsvea"], 2),
        (["tune", "tune=fsvae", "model.beta=3"], 2),  # outside the space
        (["serve", "serve.port=-1"], 2),
        (["describe", "workdir=nothing"], 2),
        (["prepare", "workdir=nothing"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_nothing_heavy_before_it_needs_it(arguments: list[str], status: int, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    assert imported(tmp_path, *arguments, status=status) & set(HEAVY) == set()


def test_prepare_needs_gensim_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    imported(tmp_path, "ingest", "--source", "table", "log.csv")
    settings = ("dataset.min_count=1", "dataset.track2vec.epochs=1", "engine.workers=1")
    assert imported(tmp_path, "prepare", *settings) & set(HEAVY) <= {"gensim"}


@pytest.mark.parametrize("module", ["fsvae.online_recommender", "fsvae.models.trainer", "fsvae.evaluation.protocol"])
def test_serving_training_and_evaluation_need_no_pandas(module: str) -> None:
    """Only the notebook's interface does."""
    code = f"import sys, {module}; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
