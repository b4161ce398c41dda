"""Opening a prepared dataset: what was written, or a refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fsvae.data.dataset import Dataset, open_dataset
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US


@pytest.fixture
def copy(small_datasets: Path, tmp_path: Path) -> Path:
    name = (small_datasets / "CURRENT").read_text().strip()
    shutil.copytree(small_datasets / name, tmp_path / name)
    return tmp_path / name


def test_the_arrays_are_those_of_the_files(small_dataset: Dataset, copy: Path) -> None:
    data, rows = small_dataset, pl.read_parquet(copy / "sequences/part-00.parquet")
    assert data.user_ids == rows["user_id"].to_list() and len(data.listens) == data.manifest["counts"]["listens"]
    for user in (0, len(data.user_ids) // 2, len(data.user_ids) - 1):
        span = slice(data.listens.offsets[user], data.listens.offsets[user + 1])
        assert data.listens.track[span].tolist() == rows["track_index"][user].to_list()
        times = rows["played_at"][user].dt.timestamp("us").to_list()
        assert data.listens.played_at[span].tolist() == times == sorted(times)
        assert (data.listens.user[span] == user).all()
        assert data.listens.n_before[span].tolist() == list(range(len(times)))
    days = data.snapshots.day[data.slow_row]
    assert np.array_equal(days, data.listens.played_at // DAY_US)
    assert np.array_equal(data.snapshots.user[data.slow_row], data.listens.user)


def test_the_periods_part_all_listens(small_dataset: Dataset) -> None:
    counts = small_dataset.manifest["counts"]
    parts = [small_dataset.targets(name) for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [counts[f"{name}_listens"] for name in ("train", "validation", "test")]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(small_dataset.listens)))
    played_at = small_dataset.listens.played_at
    assert (
        played_at[parts[0]].max() < played_at[parts[1]].min() and played_at[parts[1]].max() < played_at[parts[2]].min()
    )


def test_the_folder_of_datasets_opens_the_current_one(small_datasets: Path, small_dataset: Dataset) -> None:
    assert open_dataset(small_datasets).fingerprint == small_dataset.fingerprint


@pytest.mark.parametrize(
    "name",
    [
        "vectors.npy",
        "slow/part-00.parquet",
        "recent_days/part-00.parquet",
        "sequences/part-00.parquet",
        "tracks.parquet",
    ],
)
@pytest.mark.parametrize("how", ["missing", "changed"])
def test_a_file_that_is_not_the_one_that_was_written_is_refused(copy: Path, name: str, how: str) -> None:
    open_dataset(copy)
    if how == "missing":
        (copy / name).unlink()
    else:
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: missing or not as it was written"):
        open_dataset(copy)


def test_another_schema_version_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(UserError, match="schema_version is 99"):
        open_dataset(copy)


def test_a_dataset_of_an_older_version_is_said_with_the_remedy(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "recent_days/part-00.parquet").unlink()
    del manifest["checksums"]["recent_days/part-00.parquet"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"by an older version, .* Delete the folder and run fsvae prepare"):
        open_dataset(copy)


def test_no_dataset_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Make one: fsvae prepare"):
        open_dataset(tmp_path)
