"""Checks of track embeddings: finite numbers, and the dimension of the log's first embedding."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fsvae.logs.checks.columns import as_text, completed, id_faults, text_faults
from fsvae.logs.checks.rejects import Fault, first_faults, rejects_of
from fsvae.logs.source import Chunk
from fsvae.schema import TRACK_EMBEDDINGS


def check_embeddings(chunk: Chunk, path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a chunk into embeddings (columns of TRACK_EMBEDDINGS and `line`) and rejects: no row is lost."""
    raw = completed(chunk.rows, TRACK_EMBEDDINGS)
    text = as_text(raw, TRACK_EMBEDDINGS)
    vector = raw["embedding"].cast(pl.List(pl.Float32), strict=False)
    numbers = vector.list.eval(pl.element().is_not_null() & pl.element().is_finite()).list.all()
    faults = first_faults(
        text_faults(raw, text, TRACK_EMBEDDINGS)
        + id_faults(text, ("track_id",))
        + [
            Fault(vector.is_null() | (vector.list.len() == 0), "embedding", "missing"),
            Fault(
                vector.list.len() != chunk.dimension,
                "embedding",
                f"not {chunk.dimension} numbers, as many as the log's first has",
            ),
            Fault(~numbers, "embedding", "holds something that is not a finite number"),
        ],
        len(raw),
    )
    rows = text.with_columns(vector).filter(faults["field"].is_null()).select(*TRACK_EMBEDDINGS.names, "line")
    return rows, rejects_of(chunk, path, faults, TRACK_EMBEDDINGS.names)
