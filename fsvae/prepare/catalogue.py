"""The global part of prepare, from the counts of all days: the ends of the periods, and the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from fsvae.errors import UserError
from fsvae.features.imputed_vectors import MIN_FIT, ORIGINS, impute_vectors
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.lake_files import LakeFiles
from fsvae.prepare.listen_counts import DayCounts
from fsvae.prepare.track_space import embeddings_of


def cuts(counts: DayCounts, config: DatasetConfig) -> tuple[int, int]:
    """Return the ends of the training and the validation period [us].

    Raises:
        UserError: the split cannot be read, or leaves a period without a listen.
    """
    total = counts.total
    if config.train_until and config.validation_until:
        try:
            train_until, validation_until = _iso_us(config.train_until), _iso_us(config.validation_until)
        except ValueError as error:
            raise UserError(f"dataset.train_until, dataset.validation_until: not ISO times: {error}") from error
    elif config.train_until or config.validation_until:
        raise UserError("dataset.train_until and dataset.validation_until go together: set both or neither.")
    else:
        shares = (config.train_share, config.train_share + config.validation_share)
        if not 0 < shares[0] < shares[1] < 1:
            raise UserError("dataset.train_share and dataset.validation_share must be above 0 and leave some for test.")
        if total == 0:
            raise UserError("The lake holds events but no listen (kind=listen): there is nothing to learn from.")
        train_until, validation_until = (counts.time_of(int(share * total + 1e-6)) for share in shares)
    if not (total and counts.time_of(0) < train_until < validation_until <= counts.time_of(total - 1)):
        raise UserError(
            f"dataset: {total} listens do not fill a training, a validation and a test period. "
            "Ingest more listens, or set other shares (dataset.train_share, dataset.validation_share) or other cuts "
            "(dataset.train_until, dataset.validation_until)."
        )
    return train_until, validation_until


def _iso_us(text: str) -> int:
    time = datetime.fromisoformat(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def catalogue(counts: pl.DataFrame, lake: LakeFiles, min_count: int) -> pl.DataFrame:
    """Return DATASET_TRACKS, without the origin of vectors, for all tracks (track_id, train_count).

    The catalogue comes first, then the tracks whose vector can be imputed from it, then the others; each by descending
    count, then by id.
    """
    tracks = (
        counts.join(lake.read_tracks(), on="track_id", how="left")
        .with_columns((pl.col("train_count") >= max(min_count, 1)).alias("in_catalogue"))
        .sort(["train_count", "track_id"], descending=[True, False])
    )
    # Which tracks can be imputed does not depend on the values of the vectors, so any stand in for them.
    stand_in = np.ones((int(tracks["in_catalogue"].sum()), 1), dtype=np.float32)
    _, origin = impute_vectors(tracks, stand_in)
    can_impute = origin != ORIGINS.index("none")
    # Read here and again for the vectors: kept in between, they would add to the memory of the workers.
    embeddings = embeddings_of(lake, tracks)
    if embeddings is not None:
        has = np.asarray(np.isfinite(embeddings).all(axis=1))
        can_impute |= has & (int(has[: len(stand_in)].sum()) >= MIN_FIT)
    return (
        tracks.with_columns(pl.Series("can_impute", can_impute))
        .sort(["in_catalogue", "can_impute"], descending=True, maintain_order=True)
        .with_row_index("track_index")
        .with_columns(pl.col("track_index").cast(pl.Int32))
        .drop("can_impute")
    )
