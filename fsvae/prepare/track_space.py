"""The track space of a dataset: learned from its sessions and the lake's playlists, aligned with the previous space."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.errors import UserError
from fsvae.features.alignment import align, in_order_of
from fsvae.features.corpus import Corpus, PlaylistFiles, SequenceFiles, TrainingSessions
from fsvae.features.imputed_vectors import ORIGINS, impute_vectors
from fsvae.features.track2vec import train_track_vectors
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.prepare.dataset_files import shard_name
from fsvae.prepare.lake_files import LakeFiles
from fsvae.storage import Folder, read_frame


@dataclass(frozen=True)
class Space:
    """Vectors of the catalogue and of the tracks with an imputed one, their origins and their drift."""

    vectors: NDArray[np.float32]
    """[V, D] track vectors, the catalogue first."""
    origin: list[str]
    """Origin of the vector of each track of the dataset, one of `fsvae.features.imputed_vectors.ORIGINS`."""
    drift: dict[str, Any] | None
    """`fsvae.features.alignment.Drift` from the previous space; None without one."""


def make_space(
    lake: LakeFiles,
    dataset: Folder,
    n_parts: int,
    tracks: pl.DataFrame,
    train_until: int,
    config: Track2VecConfig,
    seed: int,
    before: Folder | None,
    on_epoch: Callable[[], None],
) -> Space:
    """Learn the vectors of a dataset whose sequences are written; memory is that of the vectors and of some sessions.

    Args:
        lake: lake whose playlists and embeddings are used, if it has any. They have no dates and are taken to be older
            than the listens.
        dataset: folder of the dataset, with its sequences.
        n_parts: number of shards of the sequences.
        tracks: DATASET_TRACKS without the origin: the catalogue, those whose vector can be imputed, the others.
        train_until: end of the training period [us].
        config: settings of track2vec.
        seed: seed of track2vec.
        before: dataset whose space is continued, so that vectors stay comparable; None: none.
        on_epoch: called after each epoch.

    Raises:
        UserError: the space to continue has other dimensions, or was deleted.
    """
    n_catalogue = int(tracks["in_catalogue"].sum())
    ids = tracks["track_id"][:n_catalogue].to_list()
    files = [partial(dataset.open, f"sequences/{shard_name(index)}") for index in range(n_parts)]
    sessions = Corpus(TrainingSessions(SequenceFiles(files), train_until, n_catalogue))
    lists = [partial(lake.open, entry) for entry in lake.manifest.playlists]
    corpus = _Both(sessions, Corpus(PlaylistFiles(lists, ids))) if lists else sessions
    listened = None if lists else tracks["train_count"][:n_catalogue].to_numpy()
    old = None if before is None else _old_vectors(before, ids)
    if old is not None and old.shape[1] != config.dim:
        raise UserError(
            f"dataset.track2vec.dim={config.dim}: the current track space has {old.shape[1]} dimensions, and a space "
            "can only be gone on from in its own. Set dataset.continue_space=false to begin a new one."
        )
    vectors = train_track_vectors(corpus, n_catalogue, config, seed, initial=old, on_epoch=on_epoch, counts=listened)
    drift = None
    if old is not None:
        vectors, drift = align(vectors, old)
    all_vectors, origin = impute_vectors(tracks, vectors, embeddings_of(lake, tracks))
    with_vector = np.flatnonzero(origin != ORIGINS.index("none"))
    return Space(
        vectors=all_vectors[: int(with_vector.max()) + 1],
        origin=[ORIGINS[code] for code in origin.tolist()],
        drift=None if drift is None else asdict(drift),
    )


def embeddings_of(lake: LakeFiles, tracks: pl.DataFrame) -> NDArray[np.float32] | None:
    """Return the lake's embeddings of some tracks, [T, E] with NaN for a track without one, or None if it has none."""
    if not lake.manifest.embeddings:
        return None
    known = lake.read_embeddings()
    joined = tracks.select("track_id").join(known, on="track_id", how="left", maintain_order="left")["embedding"]
    width = int(known["embedding"].list.len().max() or 0)  # type: ignore[arg-type]
    found = np.full((len(joined), width), np.nan, dtype=np.float32)
    has = (joined.is_not_null() & (joined.list.len() == width)).to_numpy()
    found[has] = joined.filter(pl.Series(has)).explode().to_numpy().reshape(-1, width)
    return found


def _old_vectors(before: Folder, ids: list[str]) -> NDArray[np.float32]:
    """Return the vectors learned for a dataset, in the order of a catalogue; NaN where it learned none."""
    try:
        tracks = read_frame(before.open("tracks.parquet"), ["track_id", "in_catalogue"]).filter("in_catalogue")
        vectors = np.load(io.BytesIO(before.read("vectors.npy")), allow_pickle=False)[: len(tracks)]
    except FileNotFoundError as error:
        raise UserError(
            f"{before}: the dataset whose track space is gone on from is no more there. Run this again."
        ) from error
    return in_order_of(ids, tracks["track_id"].to_list(), vectors)


class _Both:
    """One corpus after another, restartable."""

    def __init__(self, first: Corpus, second: Corpus) -> None:
        self._sources = (first, second)

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for source in self._sources:
            yield from source
