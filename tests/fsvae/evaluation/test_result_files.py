"""Outcomes in files."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_results import BETTER, REFERENCE, TARGETS, data, outcome_of

from fsvae.errors import UserError
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.result import EvaluationResult, listens_checksum
from fsvae.evaluation.result_files import FILE, read_results, write_results

UNSURE = replace(BETTER, uncertainty=np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32))


def assert_equal(one: EvaluationResult, other: EvaluationResult) -> None:
    for field in fields(EvaluationResult):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, field.name
            np.testing.assert_array_equal(mine, theirs, field.name)
        else:
            assert mine == theirs, field.name


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_results(tmp_path, [REFERENCE, UNSURE], data())
    found = read_results([tmp_path])
    assert list(found) == ["plain", "better"]
    assert_equal(found["plain"][0], REFERENCE)
    assert_equal(found["better"][0], UNSURE)


def test_an_evaluation_of_nothing_is_read_back(tmp_path: Path) -> None:
    write_results(tmp_path, [outcome_of("plain", [], [])], data())
    (nothing,) = read_results([tmp_path])["plain"]
    assert len(nothing.targets) == 0 and np.isnan(nothing.metrics()["coverage@10"])


def test_a_row_says_who_listened_to_what_and_when(tmp_path: Path) -> None:
    write_results(tmp_path, [REFERENCE], data())
    rows = pl.read_parquet(tmp_path / FILE)
    assert rows.select("model", "user_id", "track_id", "position", "rank", "l2", "uncertainty").rows() == [
        ("plain", "a", "t0", 1, 2, 1.0, None),
        ("plain", "a", "t1", 2, 2, 1.0, None),
        ("plain", "a", "t4", 3, None, None, None),
        ("plain", "b", "t2", 5, 1, 1.0, None),
    ]
    assert rows["played_at"].dt.timestamp("us").to_list() == data().listens.played_at[TARGETS].tolist()


def test_a_model_in_several_evaluations_has_as_many_seeds(tmp_path: Path) -> None:
    write_results(tmp_path / "1", [REFERENCE, BETTER], data())
    write_results(tmp_path / "2", [replace(BETTER, l2=BETTER.l2 + 1)], data())
    found = read_results([tmp_path / "1", tmp_path / "2"])
    assert {model: len(results) for model, results in found.items()} == {"plain": 1, "better": 2}
    assert [result.l2[0] for result in found["better"]] == [0.5, 1.5]


def test_evaluations_of_other_listens_are_not_read_together(tmp_path: Path) -> None:
    write_results(tmp_path / "1", [REFERENCE], data())
    elsewhere = replace(data(), user_ids=["a", "c"])
    others = replace(BETTER, positions=listens_checksum(elsewhere, BETTER.targets), dataset="another")
    write_results(tmp_path / "2", [others], elsewhere)
    with pytest.raises(UserError, match=r"better \(dataset another, 4 targets\) and plain \(dataset tiny, 4 targets\)"):
        read_results([tmp_path / "1", tmp_path / "2"])
    with pytest.raises(UserError, match="dataset tiny has other listens"):
        write_results(tmp_path, [others], data())
    with pytest.raises(UserError, match="different catalogues"):
        write_results(tmp_path, [REFERENCE, outcome_of("all", TARGETS, [1, 1, 1, 1])], data())


def test_no_evaluation_and_one_of_another_version_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"positions.parquet: there is no evaluation. Make one: fsvae evaluate"):
        read_results([tmp_path])
    pl.DataFrame({"FS-VAE rank": [1]}).write_parquet(tmp_path / FILE)
    with pytest.raises(UserError, match="not written by this version"):
        read_results([tmp_path])


def test_a_miss_is_null_in_the_file_and_a_miss_again(tmp_path: Path) -> None:
    write_results(tmp_path, [REFERENCE], data())
    (found,) = read_results([tmp_path])["plain"]
    assert found.ranks.tolist() == [2, 2, MISS, 1] and found.metrics() == REFERENCE.metrics()


def test_what_a_model_says_of_its_probabilities_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = replace(BETTER, nats=np.array([0.5, 2.0, np.nan, 1.0]), first_p=np.array([0.5, 0.25, 0.75, 1.0]))
    told = replace(told, first_came=np.array([True, False, False, True]))
    write_results(tmp_path, [REFERENCE, told], data())
    found = read_results([tmp_path])
    np.testing.assert_array_equal(found["better"][0].nats, told.nats)
    np.testing.assert_array_equal(found["better"][0].first_p, told.first_p)
    np.testing.assert_array_equal(found["better"][0].first_came, told.first_came)
    assert found["plain"][0].nats is None and found["plain"][0].first_p is None
    assert found["better"][0].metrics() == told.metrics()
