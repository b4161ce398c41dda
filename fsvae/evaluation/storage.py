"""Outcomes in files, so that a later report needs no model: `positions.parquet` in the folder of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.outcome import Outcome, check_comparable, check_listens
from fsvae.schema import OUTCOMES
from fsvae.storage import Folder

FILE = "positions.parquet"
_METADATA = b"fsvae"


def write_outcomes(where: str | Path | Folder, outcomes: Sequence[Outcome], dataset: PreparedDataset) -> None:
    """Write the outcomes of models on one dataset, models of different names, into the folder of an evaluation.

    Raises:
        UserError: they are not over the same listens of this dataset.
    """
    check_comparable(outcomes)
    check_listens(outcomes[0], dataset)
    assert len({outcome.model for outcome in outcomes}) == len(outcomes), "a row is named by its model and position"
    facts = {
        outcome.model: {name: getattr(outcome, name) for name in ("dataset", "positions", "n_catalogue")}
        for outcome in outcomes
    }
    schema = OUTCOMES.with_metadata({_METADATA: json.dumps(facts).encode()})
    with Folder.at(where).writing(FILE) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for outcome in outcomes:
            writer.write_table(_rows(outcome, dataset).to_arrow().cast(schema))


def read_outcomes(evaluations: Sequence[str | Path | Folder]) -> dict[str, list[Outcome]]:
    """Return what the folders of some evaluations hold, by model; a model in several of them has as many seeds.

    Raises:
        UserError: a folder has no such file, or they are not over the same targets.
    """
    found = [outcome for where in evaluations for outcome in _read(Folder.at(where))]
    check_comparable(found)
    by_name = sorted(found, key=lambda outcome: outcome.model)
    of_model = {model: list(outcomes) for model, outcomes in groupby(by_name, key=lambda outcome: outcome.model)}
    return {outcome.model: of_model[outcome.model] for outcome in found}


def _rows(outcome: Outcome, dataset: PreparedDataset) -> pl.DataFrame:
    listens, targets = dataset.listens, outcome.targets
    inside = outcome.ranks != MISS
    return pl.DataFrame(
        {
            "position": targets,
            "user_id": pl.Series(dataset.user_ids).gather(listens.user[targets]),
            "played_at": pl.Series(listens.played_at[targets]).cast(pl.Datetime("us", "UTC")),
            "track_id": dataset.tracks["track_id"].gather(listens.track[targets]),
            "rank": pl.Series(outcome.ranks).set(pl.Series(~inside), None),
            "l2": pl.Series(outcome.l2).set(pl.Series(~inside), None),
            "cosine": pl.Series(outcome.cosine).set(pl.Series(~inside), None),
            "recommended": pl.Series(outcome.recommended).arr.to_list(),
            "novelty": outcome.novelty,
            "diversity": outcome.diversity,
            "uncertainty": pl.Series(outcome.uncertainty, dtype=pl.Float32)
            if outcome.uncertainty is not None
            else pl.Series([None] * len(targets), dtype=pl.Float32),
        }
    ).select(pl.lit(outcome.model).alias("model"), pl.all())


def _read(folder: Folder) -> list[Outcome]:
    if not folder.exists(FILE):
        raise UserError(f"{folder}/{FILE}: there is no evaluation. Make one: fsvae evaluate.")
    table = pq.read_table(folder.open(FILE))
    if _METADATA not in (table.schema.metadata or {}) or table.schema.names != OUTCOMES.names:
        raise UserError(f"{folder}/{FILE}: was not written by this version of the program. Run fsvae evaluate again.")
    facts = json.loads(table.schema.metadata[_METADATA])
    rows = pl.DataFrame(pl.from_arrow(table))
    return [_outcome(model, rows.filter(pl.col("model") == model), **about) for model, about in facts.items()]


def _outcome(model: str, rows: pl.DataFrame, dataset: str, positions: str, n_catalogue: int) -> Outcome:
    recommended, uncertainty = rows["recommended"].explode().to_numpy(), rows["uncertainty"]
    return Outcome(
        model=model,
        dataset=dataset,
        positions=positions,
        n_catalogue=n_catalogue,
        targets=rows["position"].to_numpy(),
        ranks=rows["rank"].fill_null(MISS).to_numpy(),
        l2=rows["l2"].fill_null(float("nan")).to_numpy(),
        cosine=rows["cosine"].fill_null(float("nan")).to_numpy(),
        recommended=recommended.reshape(len(rows), len(recommended) // max(len(rows), 1)),
        novelty=rows["novelty"].to_numpy(),
        diversity=rows["diversity"].to_numpy(),
        uncertainty=None if uncertainty.null_count() == len(rows) else uncertainty.to_numpy(),
    )
