"""The tracks as they are now: those of a bundle, and those added or hidden since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.data.history import NO_KEY
from fsvae.features.artists import ARTIST, KNOWN_ARTIST
from fsvae.features.imputed_vectors import ORIGINS, impute_vectors
from fsvae.memory.shared import SharedTables
from fsvae.schema import DATASET_TRACKS


class TrackNotice(NamedTuple):
    """What was said of a track since the bundle was made, as it is now."""

    track_id: str
    changed: int = 0
    """Number of the latest change of any track, ascending; given by the store."""
    hidden: bool = False
    """Whether nobody is recommended it."""
    added: bool = False
    """Whether it was added, with the metadata that follows; otherwise it was hidden or shown again alone."""
    title: str | None = None
    artist_id: str | None = None
    artist_name: str | None = None
    album: str | None = None


class LiveTracks:
    """The tracks of a bundle, and those that were added since: numbered on, with vectors imputed from album or artist.

    A track of the bundle that is added again has its new title and artist in answers; the model has its old vector.
    """

    def __init__(self, bundle: Bundle, notices: Callable[[int], Sequence[TrackNotice]]) -> None:
        """Take the bundle.

        Args:
            bundle: the bundle.
            notices: function from a number to the notices of tracks whose latest change has a higher one.
        """
        self._original, self._notices = bundle, notices
        self._said: dict[str, TrackNotice] = {}
        self._changed = 0
        self.bundle = bundle
        """The bundle with all tracks."""
        self.index = {track_id: place for place, track_id in enumerate(bundle.track_ids)}
        """Track index of each id; it grows."""
        self.titles: list[str | None] = bundle.tracks["title"].to_list()
        self.artists: list[str | None] = bundle.tracks["artist_name"].to_list()
        self.hidden = np.zeros(0, dtype=np.int64)
        """Track indices that nobody is recommended."""

    @property
    def ids(self) -> list[str]:
        """Return the ids of all tracks in order of track index."""
        return self._ids

    @cached_property
    def _ids(self) -> list[str]:
        return list(self.index)

    def refresh(self) -> list[str]:
        """Read what was said since the last call; return the ids of tracks that the model knows anew, or otherwise."""
        notices = self._notices(self._changed)
        if not notices:
            return []
        self._changed = notices[-1].changed
        before = self._said
        self._said = before | {notice.track_id: notice for notice in notices}
        told = [one.track_id for one in notices if one.added and _metadata(one) != _metadata(before.get(one.track_id))]
        added = [said for said in self._said.values() if said.added and said.track_id not in self._original_index]
        if told:
            self._extend(sorted(added, key=lambda said: said.track_id))
        hidden = [
            self.index[said.track_id] for said in self._said.values() if said.hidden and said.track_id in self.index
        ]
        self.hidden = np.array(sorted(hidden), dtype=np.int64)
        return [track_id for track_id in told if track_id not in self._original_index]

    @property
    def n_added(self) -> int:
        """Return the number of tracks that were added."""
        return len(self.index) - len(self._original.tracks)

    def of_artists(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the indices of the tracks of some artists, by id or name."""
        tracks = self.bundle.tracks
        one_of = pl.col("artist_id").is_in(names) | pl.col("artist_name").is_in(names)
        return tracks.select(one_of.fill_null(False).arg_true()).to_series().to_numpy().astype(np.int64)

    @cached_property
    def _original_index(self) -> dict[str, int]:
        return {track_id: place for place, track_id in enumerate(self._original.track_ids)}

    def _extend(self, added: Sequence[TrackNotice]) -> None:
        """Make bundle and index anew with some tracks behind those of the original bundle."""
        bundle = self._original
        for said in self._said.values():
            place = self._original_index.get(said.track_id)
            if said.added and place is not None:
                self.titles[place], self.artists[place] = said.title, said.artist_name
        # those known longest first, as their numbers are in the states of users
        known = [self._said[track_id] for track_id in list(self.index)[len(self._original_index) :]]
        new = [*known, *(said for said in added if said.track_id not in self.index)]
        if not new:
            return
        model, n_tracks = bundle.model, len(bundle.tracks)
        rows = pl.DataFrame(
            {
                "track_index": np.arange(n_tracks, n_tracks + len(new), dtype=np.int32),
                **{name: [getattr(said, name) for said in new] for name in TrackNotice._fields if name in _METADATA},
                "train_count": [0] * len(new),
                "in_catalogue": [False] * len(new),
            }
        )
        tracks = pl.concat(
            [bundle.tracks, rows.cast({name: bundle.tracks.schema[name] for name in rows.columns})], how="diagonal"
        )
        vectors, origin = impute_vectors(tracks, model.catalogue.numpy())
        trained = model.track_table[: model.n_catalogue].detach()
        length = trained.norm(dim=1)
        table = impute_vectors(tracks, (trained / length.clamp(min=1e-9)[:, None]).numpy())[0]
        names = pl.Series([ORIGINS[code] for code in origin[n_tracks:]])
        tracks = tracks.with_columns(vector_origin=pl.concat([bundle.tracks["vector_origin"], names]))
        larger = model.with_more_tracks(
            n_tracks,
            torch.from_numpy(vectors[n_tracks:]),
            torch.from_numpy(table[n_tracks:]) * length.mean(),
        )
        shared = None if bundle.shared is None else _with_more_tracks(bundle.shared, tracks)
        self.bundle = replace(bundle, model=larger, tracks=tracks.select(DATASET_TRACKS.names), shared=shared)
        self.index |= {said.track_id: n_tracks + place for place, said in enumerate(new)}
        self.titles[n_tracks:] = [said.title for said in new]
        self.artists[n_tracks:] = [said.artist_name for said in new]
        self.__dict__.pop("_ids", None)


def _metadata(notice: TrackNotice | None) -> tuple[object, ...] | None:
    """Return what was said of a track that was added."""
    return tuple(getattr(notice, name) for name in _METADATA) if notice is not None and notice.added else None


_METADATA = ("track_id", "title", "artist_id", "artist_name", "album")


def _with_more_tracks(tables: SharedTables, tracks: pl.DataFrame) -> SharedTables:
    """Return everybody's counts with more tracks, which nobody has heard; `tracks` are all of them."""
    n, more = tables.n_tracks, len(tracks) - tables.n_tracks
    # an artist who is known keeps the number
    artist = tracks.select(pl.when(KNOWN_ARTIST).then(ARTIST).alias("artist"))
    known = artist[:n].with_columns(code=tables.artist_T).unique("artist")
    new = artist[n:].join(known, on="artist", how="left", maintain_order="left")
    number = pl.col("artist").rank("dense").cast(pl.Int32) + int(tables.artist_T.max(initial=-1))
    codes = new.select(pl.when(pl.col("artist").is_null()).then(NO_KEY).otherwise(pl.coalesce("code", number)))
    sessions = tables.sessions
    end = np.full(more, sessions.begin_T[-1])
    return replace(
        tables,
        popular_PT=np.pad(tables.popular_PT, ((0, 0), (0, more))),
        artist_T=np.append(tables.artist_T, codes.to_series().to_numpy().astype(np.int32)),
        sessions=replace(sessions, begin_T=np.append(sessions.begin_T, end)),
    )
