"""Which trials are deleted when a matrix starts, by what is written down of all matrices."""

from __future__ import annotations

from pathlib import Path

from fsvae.storage import Folder
from pipelines.ablation.run import RECORD, delete_old_trials
from pipelines.runtime.locks import held


def test_the_newest_matrices_tunings_and_what_is_being_run_keep_their_trials(tmp_path: Path) -> None:
    matrices, variants = tmp_path / "matrices", tmp_path / "variants"
    of_matrix = {"old": "ab", "running": "bc", "newer": "cd", "newest": "de"}
    for day, (name, trials) in enumerate(of_matrix.items(), start=1):
        record = {"at": f"2026-01-0{day}", "variants": [{"trials": [{"folder": trial}]} for trial in trials]}
        Folder.at(matrices / name).write_json(RECORD, record)
    for trial in "abcdefg":
        Folder.at(variants / trial / "test").write_json("metrics.json", {})
    with held(matrices / "running", "run of this very matrix"), held(variants / "f", "run of this very variant"):
        assert delete_old_trials(matrices, variants, keep=2) == 2  # a, and g, which no matrix has
        assert sorted(path.name for path in variants.iterdir()) == list("bcdef")
    assert delete_old_trials(matrices, variants, keep=1, tuned={"b"}) == 2
    assert sorted(path.name for path in variants.iterdir()) == list("bde")
    assert delete_old_trials(matrices, tmp_path / "none", keep=1) == 0
