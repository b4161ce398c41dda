"""The notebooks: all cells run, in a folder of their own, and show what their texts speak of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 1_500_000


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]


def pictures(path: Path) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(path))


def shown(path: Path) -> str:
    """All text under the cells of a notebook."""
    data = [output["data"] for output in outputs(path) if "data" in output]
    texts = [text for one in data if (text := one.get("text/markdown", one.get("text/plain")))]
    return "\n".join("".join(text) for text in texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebooks, executed one behind the other, and `work/` beside it, which they share."""
    folder = tmp_path_factory.mktemp("reader") / "notebooks"
    folder.mkdir()
    copies = [shutil.copy(path, folder) for path in NOTEBOOKS]
    shutil.copy(ROOT / "notebooks" / "notebook_helpers.py", folder)
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "execute.py", *copies], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.e2e
def test_all_cells_run_and_say_nothing_but_what_they_are_to_show(folder: Path) -> None:
    names = ["00_your_own_listens", "01_quick_tour", "02_ablations", "03_latent_space"]
    assert [path.stem for path in NOTEBOOKS] == names
    for path in folder.glob("*.ipynb"):
        assert {output["output_type"] for output in outputs(path)} <= {"display_data", "execute_result"}, path.name
        assert str(folder.parent) not in path.read_text(), path.name
    work = folder.parent / "work" / "notebooks"
    assert len(list(work.glob("runs/*/run.json"))) == 1  # they share one model


@pytest.mark.e2e
def test_ones_own_listens_need_nothing_but_the_library(folder: Path) -> None:
    path = folder / "00_your_own_listens.ipynb"
    said = shown(path)
    assert pictures(path) == 1  # where the listeners are
    for model in ("FS-VAE", "Markov, blended", "Popularity"):
        assert re.search(rf"^{model} +0\.\d+ +0\.\d+$", said, re.MULTILINE), model
    assert said.endswith("True")  # what is loaded answers as what was saved
    code = "".join(
        "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"
    )
    assert not re.search(r"^(import|from) (pipelines|serving|notebook_helpers)", code, re.MULTILINE)


@pytest.mark.e2e
def test_the_quick_tour_goes_from_a_log_to_two_lists_of_tracks(folder: Path) -> None:
    path = folder / "01_quick_tour.ipynb"
    said = shown(path)
    assert pictures(path) == 3 + 1  # the log, and how good the models are
    for model in ("Popularity", "Average", "Aggregate sequence", "FS-VAE"):
        assert re.search(rf"\| {model} \| [*]*[01]\.\d", said), model
    first, second = (re.findall(r"^\| (t\d+) \|", text, re.MULTILINE) for text in said.split("Next tracks for ")[1:])
    assert len(first) == len(second) == 5 and first != second


@pytest.mark.e2e
def test_the_ablations_have_intervals_and_a_matrix_of_ones_own(folder: Path) -> None:
    path = folder / "02_ablations.ipynb"
    said = shown(path)
    assert pictures(path) == 6 + 1  # the paper's matrix, and the differences of one's own
    assert said.count("**Differences from the reference.**") == 2
    for cell in ("no fast features", "fast features shuffled", "no slow features", "deterministic latent"):
        assert re.search(rf"\| {cell} \| .*<br>[+-]0\.\d+ \[[+-]0\.\d+, [+-]0\.\d+\]", said), cell
    assert re.search(r"\] (n\.s\.|seeds) \|", said) and "two dimensions: L2 " in said
    runs = list((folder.parent / "work" / "notebooks").glob("variants/*/test/metrics.json"))
    assert len(runs) == 3 * (6 + 1)  # the reference of the second matrix is that of the first


@pytest.mark.e2e
def test_the_latent_space_is_walked_through(folder: Path) -> None:
    path = folder / "03_latent_space.ipynb"
    said = shown(path)
    assert pictures(path) == 3 + 1 + 3 + 1 + 1  # maps, dimensions, drift, between two, anomalies
    for title in ("By taste", "KL per dimension", "How far they went", "Most anomalous users"):
        assert f"**{title}.**" in said, title


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_executed_light_and_of_no_machine(path: Path) -> None:
    text = path.read_text()
    assert path.stat().st_size < MOST_BYTES
    assert not re.search(r"/tmp/|/home/|/root/|/Users/|site-packages|iopub", text)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "make notebooks"
    assert pictures(path)
