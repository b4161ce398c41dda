"""Imputed vectors of new and rare tracks, from audio, album or artist, each with its origin.

All imputed vectors are computed from the catalogue's, which are learned in the training period, so later listens do
not leak in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.features.artists import ARTIST, KNOWN_ARTIST, artist_codes
from fsvae.features.embedding_map import cosine, fit_embedding_map, held_out

ORIGINS = ("trained", "embedding", "album", "artist", "none")
"""Origins of a track's vector, by code.

* ``trained``: learned from the sessions or playlists of the training period.
* ``embedding``: its audio embedding, mapped into the track space (`fsvae.features.embedding_map`).
* ``album``: the mean of the trained tracks of the same artist's album of that name.
* ``artist``: the mean of the artist's trained tracks.
* ``none``: nothing is known; the vector is zero.
"""

MIN_FIT = 50
"""Least number of tracks with a vector and an embedding to learn a map from."""

Source = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def impute_vectors(
    tracks: pl.DataFrame, vectors: NDArray[np.float32], embeddings: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return a vector for every track (its own, an imputed one, or none) and its origin.

    The album comes first, then the artist. An embedding comes before both where, on held-out catalogue tracks, it is
    nearer to their vectors than their album or artist would be, and after both otherwise.

    Args:
        tracks: T rows with the columns of `schema.TRACKS`, the catalogue first. The artist is `artist_id`, else
            `artist_name`; an album is known by its artist and name, since many albums are called "Greatest hits".
        vectors: [C, D] unit vectors of the catalogue, which is the first C tracks; a row of NaN is not trained.
        embeddings: [T, E] audio embeddings; a row of NaN for a track without.

    Returns:
        [T, D] float32 of length 1 (origin none: 0), and [T] int8, indices of `ORIGINS`.
    """
    found = np.zeros((len(tracks), vectors.shape[1]), dtype=np.float32)
    origin = np.full(len(tracks), ORIGINS.index("none"), dtype=np.int8)
    trained = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    found[trained], origin[trained] = vectors[trained], ORIGINS.index("trained")

    artist, album = _codes(tracks)
    means = [_GroupMean(group, trained, found[trained]) for group in (album, artist)]
    sources: list[tuple[str, Source]] = list(zip(("album", "artist"), means, strict=True))
    if embeddings is not None:
        sources = _with_embeddings(sources, means, embeddings, trained, found[trained])

    for name, source in sources:
        wanting = np.flatnonzero(origin == ORIGINS.index("none"))
        imputed = source(wanting)
        length = np.linalg.norm(imputed, axis=1)
        has = length > 1e-6  # two opposite tracks have no direction in common
        found[wanting[has]] = imputed[has] / length[has, None]
        origin[wanting[has]] = ORIGINS.index(name)
    return found, origin


def _codes(tracks: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return codes of each track's artist and album, -1 where not known, [T] each."""
    album = pl.struct(ARTIST.alias("artist"), "album").rank("dense").cast(pl.Int64) - 1
    known = KNOWN_ARTIST & pl.col("album").is_not_null()
    codes = tracks.select(pl.when(known).then(album).otherwise(-1).alias("album"))
    return artist_codes(tracks).astype(np.int64), codes["album"].to_numpy()


class _GroupMean:
    """The mean direction of the trained tracks of each track's group; 0 where there are none."""

    def __init__(self, group: NDArray[np.int64], trained: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._group = group
        self._sums = np.zeros((int(group.max(initial=-1)) + 2, vectors.shape[1]))  # the last row stays 0: group -1
        member = group[trained] >= 0
        np.add.at(self._sums, group[trained[member]], vectors[member])

    def __call__(self, track: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._sums[self._group[track]]

    def of_the_others(self, track: NDArray[np.int64], own: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean direction for trained tracks without their own vectors."""
        return self._sums[self._group[track]] - np.where(self._group[track, None] >= 0, own, 0.0)


def _with_embeddings(
    sources: list[tuple[str, Source]],
    means: list[_GroupMean],
    embeddings: NDArray[np.float32],
    trained: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> list[tuple[str, Source]]:
    """Return the sources with the embeddings first or last, whichever is better, or without if they are too few."""
    has = np.asarray(np.isfinite(embeddings).all(axis=1))
    both = has[trained]
    if int(both.sum()) < MIN_FIT:
        return sources
    embedding_map, likeness = fit_embedding_map(embeddings[trained[both]], vectors[both])

    def mapped(track: NDArray[np.int64]) -> NDArray[np.float64]:
        result = np.zeros((len(track), vectors.shape[1]))
        result[has[track]] = embedding_map(embeddings[track[has[track]]])
        return result

    held = held_out(int(both.sum()))
    track, actual = trained[both][held], vectors[both][held]
    rival = np.zeros(actual.shape)
    for mean in means:
        missing = ~rival.any(axis=1)
        rival[missing] = mean.of_the_others(track[missing], actual[missing])
    comparable = rival.any(axis=1)
    first = not comparable.any() or likeness[comparable].mean() > cosine(rival, actual)[comparable].mean()
    return [("embedding", mapped), *sources] if first else [*sources, ("embedding", mapped)]
