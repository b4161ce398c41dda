"""The whole chain in real processes, as a newcomer types it: quickstart, daily, serve."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.e2e

FSVAE = Path(sys.executable).with_name("fsvae")
ROOT = Path(__file__).parents[2]
SMALL = [
    "simulate.users=60",
    "simulate.tracks=200",
    "simulate.artists=40",
    "simulate.genres=5",
    "dataset.min_count=2",
    "dataset.track2vec.epochs=3",
    "train.max_epochs=2",
    "model.fast_hidden=32",
]


def fsvae(folder: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run([FSVAE, *arguments], cwd=folder, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished quickstart in an empty folder, and what it printed."""
    folder = tmp_path_factory.mktemp("newcomer")
    return folder, fsvae(folder, "quickstart", *SMALL)


def test_quickstart_goes_from_nothing_to_an_answer(quickstart: tuple[Path, str]) -> None:
    folder, printed = quickstart
    for model in ("Popularity", "Average", "Aggregate sequence", "FS-VAE"):
        assert re.search(rf"│ {model} +│ +[01]\.\d", printed), model
    answer = json.loads(printed[printed.index('{\n  "user_id"') : printed.index("\n}\n") + 2])
    assert len(answer["tracks"]) == 5 and answer["known_user"] and answer["model_version"] == "fsvae/1"
    work = folder / "work" / "quickstart"
    for made in ("metrics.md", "metrics.png", "positions.parquet"):
        assert list(work.glob(f"runs/*/evaluation/test/{made}")), made
    assert (work / "mlflow.db").exists()
    assert list(folder.iterdir()) == [folder / "work"]  # nothing is left outside the working folder


def test_bundle_holds_no_pickle(quickstart: tuple[Path, str]) -> None:
    bundle = next((quickstart[0] / "work" / "quickstart" / "runs").glob("*/bundle"))
    assert sorted(path.name for path in bundle.iterdir()) == [
        "bundle.json",
        "heard.parquet",
        "memory.safetensors",
        "model.safetensors",
        "tracks.parquet",
        "users.parquet",
    ]


def test_recommend_in_the_terminal(quickstart: tuple[Path, str]) -> None:
    printed = fsvae(quickstart[0], "recommend", "somebody-new", "workdir=work/quickstart", "--recent", "t000001,t-x")
    assert "Not in the catalogue: t-x." in printed
    assert "somebody-new is not in the training data" in printed


def test_daily_twice_is_the_same_as_once(quickstart: tuple[Path, str]) -> None:
    folder, _ = quickstart
    small = [*SMALL[4:], "workdir=work/daily", "source.path=work/quickstart/raw"]
    first = fsvae(folder, "daily", "--date", "2026-01-25", *small)
    assert "version 1, the first model, is the champion" in first
    again = fsvae(folder, "daily", "--date", "2026-01-25", *small)
    assert "28 of 28 files had gone in before" in again and "version 1, the first model, is the champion" in again
    assert "prepared before" in again and "trained before" in again and "as evaluated before" in again
    runs = [path for path in (folder / "work/daily/runs").iterdir() if path.is_dir()]
    assert len(runs) == 1
    later = fsvae(folder, "daily", "--date", "2026-01-30", *small)
    assert re.search(r"NDCG@10: challenger version 2 0\.\d+, champion version 1 0\.\d+, .* → ", later)
    said = " ".join(later.split())  # lines are as wide as the terminal
    assert re.search(r"measure version 1 on \d+ listens of 2026-01-30, not learned: NDCG@10 0\.\d+", said)


def test_serve_answers_until_it_is_asked_to_end(quickstart: tuple[Path, str]) -> None:
    folder, _ = quickstart
    process = subprocess.Popen(
        [FSVAE, "serve", "workdir=work/quickstart", "serve.port=0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "FSVAE_TOKEN": ""},
    )
    try:
        assert process.stdout is not None
        said, found = "", None
        while found is None and (line := process.stdout.readline()):
            said += line
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, said
        url = found[0]
        assert httpx.get(f"{url}/healthz", timeout=30).json() == {"status": "ok", "model_version": "fsvae/1"}
        answer = httpx.post(f"{url}/v1/next-tracks", json={"recent": ["t000001"], "k": 4}, timeout=30).json()
        assert len(answer["tracks"]) == 4
        assert httpx.post(f"{url}/v1/next-tracks", json={"user": "x"}, timeout=30).status_code == 422
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    assert "Did you mean 'train.max_epochs'?" in fsvae(tmp_path, "train", "train.max_epoch=3", status=2)
    assert "fsvae prepare" in fsvae(tmp_path, "train", status=2)
    assert "fsvae simulate" in fsvae(tmp_path, "ingest", status=2)
    assert "fsvae train" in fsvae(tmp_path, "serve", status=2)


def test_wheel_ships_the_configs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"pipelines/configs/{path.relative_to(ROOT / 'configs')}" in names
    assert "serving/app.py" in names and "fsvae/bundle.py" in names
