"""Results in files, so that a later report needs no model: `positions.parquet` in the folder of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.result import EvaluationResult, check_comparable, check_listens
from fsvae.schema import EVALUATION_RESULTS
from fsvae.storage import Folder

FILE = "positions.parquet"
_METADATA = b"fsvae"


def write_results(where: str | Path | Folder, results: Sequence[EvaluationResult], dataset: Dataset) -> None:
    """Write the results of models with different names on one dataset into the folder of an evaluation.

    Raises:
        UserError: they are not over the same listens of this dataset.
    """
    check_comparable(results)
    check_listens(results[0], dataset)
    assert len({result.model for result in results}) == len(results), "a row is named by its model and position"
    facts = {
        result.model: {name: getattr(result, name) for name in ("dataset", "positions", "n_candidates")}
        for result in results
    }
    schema = EVALUATION_RESULTS.with_metadata({_METADATA: json.dumps(facts).encode()})
    with Folder.at(where).writing(FILE) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for result in results:
            writer.write_table(_rows(result, dataset).to_arrow().cast(schema))


def read_results(evaluations: Sequence[str | Path | Folder]) -> dict[str, list[EvaluationResult]]:
    """Return the results in the folders of some evaluations, by model; a model in several folders has as many seeds.

    Raises:
        UserError: a folder has no such file, or they are not over the same targets.
    """
    found = [result for where in evaluations for result in _read(Folder.at(where))]
    check_comparable(found)
    by_name = sorted(found, key=lambda result: result.model)
    of_model = {model: list(results) for model, results in groupby(by_name, key=lambda result: result.model)}
    return {result.model: of_model[result.model] for result in found}


def _rows(result: EvaluationResult, dataset: Dataset) -> pl.DataFrame:
    listens, targets = dataset.listens, result.targets
    return pl.DataFrame(
        {
            "position": targets,
            "user_id": pl.Series(dataset.user_ids).gather(listens.user[targets]),
            "played_at": pl.Series(listens.played_at[targets]).cast(pl.Datetime("us", "UTC")),
            "track_id": dataset.tracks["track_id"].gather(listens.track[targets]),
            "in_catalogue": result.in_catalogue,
            "rank": _found(result.ranks),
            "catalogue_rank": _found(result.catalogue_ranks),
            "l2": pl.Series(result.l2).fill_nan(None),
            "cosine": pl.Series(result.cosine).fill_nan(None),
            "recommended": pl.Series(result.recommended).arr.to_list(),
            "novelty": result.novelty,
            "diversity": result.diversity,
            "uncertainty": _given(result.uncertainty, len(targets), pl.Float32),
            "nats": _given(result.nats, len(targets), pl.Float64),
            "first_p": _given(result.first_p, len(targets), pl.Float64),
            "first_came": pl.Series(
                [None] * len(targets) if result.first_came is None else result.first_came, dtype=pl.Boolean
            ),
        }
    ).select(pl.lit(result.model).alias("model"), pl.all())


def _given(values: NDArray[Any] | None, n: int, dtype: type[pl.DataType]) -> pl.Series:
    """Return values, null where they are NaN, or nulls where there are none."""
    return pl.Series([None] * n, dtype=dtype) if values is None else pl.Series(values, dtype=dtype, nan_to_null=True)


def _read_given(values: pl.Series) -> NDArray[Any] | None:
    """Return what `_given` made a column of."""
    return None if values.null_count() == len(values) else values.fill_null(float("nan")).to_numpy()


def _found(ranks: NDArray[np.int64]) -> pl.Series:
    return pl.Series(ranks).set(pl.Series(ranks == MISS), None)


def _read(folder: Folder) -> list[EvaluationResult]:
    if not folder.exists(FILE):
        raise UserError(f"{folder}/{FILE}: there is no evaluation. Make one: fsvae evaluate.")
    table = pq.read_table(folder.open(FILE))
    if _METADATA not in (table.schema.metadata or {}) or table.schema.names != EVALUATION_RESULTS.names:
        raise UserError(
            f"{folder}/{FILE}: was not written by this version of the program. Make it anew: "
            "fsvae evaluate, or fsvae ablate for a matrix."
        )
    facts = json.loads(table.schema.metadata[_METADATA])
    rows = pl.DataFrame(pl.from_arrow(table))
    return [_result(model, rows.filter(pl.col("model") == model), **about) for model, about in facts.items()]


def _result(model: str, rows: pl.DataFrame, dataset: str, positions: str, n_candidates: int) -> EvaluationResult:
    recommended, first_p = rows["recommended"].explode().to_numpy(), _read_given(rows["first_p"])
    return EvaluationResult(
        model=model,
        dataset=dataset,
        positions=positions,
        n_candidates=n_candidates,
        targets=rows["position"].to_numpy(),
        ranks=rows["rank"].fill_null(MISS).to_numpy(),
        catalogue_ranks=rows["catalogue_rank"].fill_null(MISS).to_numpy(),
        in_catalogue=rows["in_catalogue"].to_numpy(),
        l2=rows["l2"].fill_null(float("nan")).to_numpy(),
        cosine=rows["cosine"].fill_null(float("nan")).to_numpy(),
        recommended=recommended.reshape(len(rows), len(recommended) // max(len(rows), 1)),
        novelty=rows["novelty"].to_numpy(),
        diversity=rows["diversity"].to_numpy(),
        uncertainty=_read_given(rows["uncertainty"]),
        nats=None if first_p is None else rows["nats"].fill_null(float("nan")).to_numpy(),
        first_p=first_p,
        first_came=None if first_p is None else rows["first_came"].to_numpy(),
    )
