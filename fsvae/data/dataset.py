"""A prepared dataset in memory: the arrays that training and evaluation read, checked against the manifest."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from fsvae.data.listens import NOT_HEARD, Listens, offsets_of
from fsvae.errors import UserError
from fsvae.features.clock import DAY_US
from fsvae.features.recent_days import RECENT_COUNTS, RecentDays
from fsvae.features.taste import DaySums
from fsvae.prepare.dataset_files import find_dataset, shard_name
from fsvae.storage import Folder, read_frame

if TYPE_CHECKING:
    import pandas as pd

    from fsvae.prepare.dataset_config import DatasetConfig

PERIODS = ("train", "validation", "test")


@dataclass(frozen=True)
class Snapshots:
    """Slow snapshots, sorted by (user, day)."""

    user: NDArray[np.int64]
    """[S] user of each snapshot."""
    day: NDArray[np.int64]
    """[S] days since 1970 UTC; the snapshot holds events before the day's 00:00."""
    habits: NDArray[np.float32]
    """[S, H] habits (`fsvae.features.slow.HABITS`)."""
    sums: DaySums
    """Sums of track vectors from which the taste is computed."""

    def rows_of(self, user: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each (user, day), which must exist."""
        span = int(self.day.max()) + 2 if len(self.day) else 1
        keys = self.user * span + self.day
        rows = np.searchsorted(keys, user * span + day)
        assert np.array_equal(keys[rows], user * span + day), "every active day has a snapshot"
        return rows

    def features(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return habits and taste of some snapshots side by side, [len(rows), H + half-lives * D]."""
        return np.concatenate([self.habits[rows], self.sums.taste(self.user[rows], self.day[rows])], axis=1)


@dataclass(frozen=True, repr=False)
class Dataset:
    """A prepared dataset in memory.

    Examples:
        >>> import fsvae, pandas as pd
        >>> plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 100})
        >>> plays["played_at"] = pd.date_range("2026-01-01", periods=300, freq="1h")
        >>> dataset = fsvae.Dataset.from_pandas(fsvae.read_listens(plays))
        >>> dataset.user_ids, dataset.n_catalogue, len(dataset.targets("test"))
        (['ann'], 3, 30)
        >>> dataset
        <Dataset ac8f701d3d5a1d5b: 300 listens of 1 users, 3 of 3 tracks in the catalogue>
    """

    manifest: dict[str, Any]
    user_ids: list[str]
    listens: Listens
    tracks: pl.DataFrame
    """All tracks (`schema.DATASET_TRACKS`), in order of track index; the first `n_catalogue` rows are the catalogue."""
    vectors: NDArray[np.float32]
    """[V, D] unit vectors of the catalogue and, after it, of the tracks with an imputed one."""
    n_catalogue: int
    """Number of tracks, the first ones, that have a trained vector of their own."""
    snapshots: Snapshots
    slow_row: NDArray[np.int64]
    """[N] row in `snapshots` of each listen's user and day."""
    recent: RecentDays
    """Days from which snapshots after the users' latest listens are computed."""
    known_first_heard_at: NDArray[np.int64] | None = None
    """[T] `first_heard_at` where it is not that of these listens: requests hold only those of some users."""

    @classmethod
    def open(cls, where: str | Path | Folder) -> Dataset:
        """Open a prepared dataset, or the current one of a folder of datasets (``work/.../datasets``).

        Raises:
            UserError: there is none, it has another schema version, or a file is not the one that was written.
        """
        return open_dataset(where)

    @classmethod
    def from_pandas(
        cls,
        listens: pd.DataFrame | pl.DataFrame,
        tracks: pd.DataFrame | pl.DataFrame | None = None,
        config: DatasetConfig | None = None,
        seed: int = 1,
    ) -> Dataset:
        """Make a dataset of a frame of listens, identical to the one that `fsvae ingest` and `fsvae prepare` make.

        Args:
            listens: what `read_listens` returns, or a frame with at least its columns user_id, track_id and played_at,
                in order of arrival; rows that fail the checks are left out with a warning.
            tracks: metadata of tracks, with track_id and any of title, artist_id, artist_name, album and duration_ms;
                it takes precedence over that of the listens.
            config: settings of the split, the catalogue and the track vectors; by default those of `fsvae prepare`.
            seed: seed of the track vectors.

        Raises:
            UserError: a column is missing, too many rows are rejected, or the training, validation or test period has
                no listens.

        Warns:
            UserWarning: rows were rejected.
        """
        from fsvae.prepare.from_frame import make_from_frame  # here, as reading a dataset does not need it

        with tempfile.TemporaryDirectory(prefix="fsvae-") as temporary:
            return open_dataset(make_from_frame(listens, tracks, config, seed, Path(temporary)))

    def __repr__(self) -> str:
        """Return how much is in it, in a line."""
        return (
            f"<Dataset {self.fingerprint}: {len(self.listens):,} listens of {len(self.user_ids):,} users, "
            f"{self.n_catalogue:,} of {len(self.tracks):,} tracks in the catalogue>"
        )

    @property
    def fingerprint(self) -> str:
        """Return the name of this dataset's content: equal for equal events, config, seed and track space."""
        return str(self.manifest["fingerprint"])

    @property
    def n_tracks(self) -> int:
        """Return the number of all tracks, T, in the catalogue or not."""
        return len(self.tracks)

    @cached_property
    def first_heard_at(self) -> NDArray[np.int64]:
        """Return the time [us] of anybody's first listen to each track, from which on it can be recommended, [T]."""
        known = self.known_first_heard_at
        return self.listens.first_heard_at(self.n_tracks) if known is None else known

    def period(self, name: str) -> tuple[int, int]:
        """Return the half-open time span [us] of train, validation or test."""
        cuts = [np.iinfo(np.int64).min, self.manifest["train_until_us"], self.manifest["validation_until_us"]]
        index = PERIODS.index(name)
        return cuts[index], [*cuts, np.iinfo(np.int64).max][index + 1]

    def targets(self, name: str) -> NDArray[np.int64]:
        """Return the flat positions of all listens in a period, those outside the catalogue included."""
        return self.listens.between(*self.period(name))

    @property
    def validation_learned(self) -> bool:
        """Return whether this is what a model sees that learns from the validation period, too."""
        return bool(self.manifest["train_until_us"] == self.manifest["validation_until_us"])

    def with_validation_learned(self) -> Dataset:
        """Return this dataset as a model sees it that learns from training and validation together.

        The training period ends where validation ends, and the validation period is empty. The catalogue and the
        vectors stay those of the training listens. The fingerprint is `<this dataset's>+validation`.
        """
        if self.validation_learned:
            return self
        until = self.manifest["validation_until_us"]
        changed = {"fingerprint": f"{self.fingerprint}+validation", "train_until_us": until}
        return replace(self, manifest={**self.manifest, **changed})

    def in_space_of(self, tracks: pl.DataFrame, vectors: NDArray[np.float32]) -> Dataset:
        """Return this dataset in the track space of another catalogue: its track indices, vectors and taste.

        The model's tracks come first; after them each track that it lacks has its own index. The fingerprint names the
        space, `<this dataset's>@<the space's>`, so that figures of different spaces are not mixed up.

        Args:
            tracks: `schema.DATASET_TRACKS` of the model's tracks, in order, the catalogue first; at least those with a
                vector.
            vectors: [V, D] vectors of the first of them.
        """
        mine, n_catalogue = self.tracks[: len(tracks)], int(tracks["in_catalogue"].sum())
        same_tracks = mine["track_id"].equals(tracks["track_id"]) and n_catalogue == self.n_catalogue
        if same_tracks and len(tracks) >= len(self.vectors) and np.array_equal(vectors, self.vectors):
            return self
        lacking = self.tracks.join(tracks, on="track_id", how="anti", maintain_order="left")
        lacking = lacking.with_columns(in_catalogue=pl.lit(False), vector_origin=pl.lit("none"))
        counts = self.tracks.select("track_id", "train_count")
        view = pl.concat([tracks, lacking]).drop("train_count").join(counts, "track_id", "left", maintain_order="left")
        view = view.with_columns(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("track_index"), pl.col("train_count").fill_null(0)
        ).select(self.tracks.columns)
        index_of = view.select("track_id", "track_index")
        to_view = self.tracks.select("track_id").join(index_of, "track_id", "left", maintain_order="left")
        index = to_view["track_index"].to_numpy()
        listens = self.listens.with_tracks(np.append(index, np.int32(len(view)))[self.listens.track])
        first_heard_at = np.full(len(view), NOT_HEARD, dtype=np.int64)
        first_heard_at[index] = self.first_heard_at
        space = xxhash.xxh3_64("\0".join([str(n_catalogue), *tracks["track_id"]]).encode())
        space.update(vectors.tobytes())
        return replace(
            self,
            manifest={**self.manifest, "fingerprint": f"{self.fingerprint}@{space.hexdigest()}"},
            listens=listens,
            tracks=view,
            vectors=vectors,
            n_catalogue=n_catalogue,
            snapshots=replace(self.snapshots, sums=DaySums.of(listens.user, listens.track, listens.played_at, vectors)),
            known_first_heard_at=first_heard_at,
        )


def open_dataset(where: str | Path | Folder) -> Dataset:
    """Open a prepared dataset, or the current one of a folder of datasets.

    Raises:
        UserError: there is none, it has another schema version, or a file is not the one that was written.
    """
    folder, manifest = find_dataset(where)
    if not any(name.startswith("recent_days/") for name in manifest["checksums"]):
        raise UserError(
            f"{folder}: prepared by an older version, without recent_days/. Delete the folder and run fsvae prepare "
            "again."
        )
    for name, expected in manifest["checksums"].items():
        if not folder.exists(name) or folder.checksum(name) != expected:
            raise UserError(
                f"{folder}/{name}: missing or not as it was written. Delete {folder} and run fsvae prepare again."
            )
    parts = [shard_name(index) for index in range(manifest["parts"])]
    users = [read_frame(folder.open(f"sequences/{part}")) for part in parts]
    first_users = np.cumsum([0, *(len(part) for part in users)])[:-1].tolist()
    sequences = pl.concat(users)

    def by_user(table: str) -> pl.DataFrame:
        return pl.concat(
            read_frame(folder.open(f"{table}/{part}")).with_columns(pl.col("user_index") + first)
            for part, first in zip(parts, first_users, strict=True)
        )

    lengths = sequences["track_index"].list.len().to_numpy()
    listens = Listens(
        offsets=offsets_of(lengths),
        track=sequences["track_index"].explode().to_numpy().astype(np.int32),
        played_at=sequences["played_at"].explode().dt.timestamp("us").to_numpy().astype(np.int64),
        played_fraction=sequences["played_fraction"].explode().to_numpy().astype(np.float32),
    )
    slow, recent = by_user("slow"), by_user("recent_days")
    vectors = np.load(io.BytesIO(folder.read("vectors.npy")), allow_pickle=False)
    snapshots = Snapshots(
        user=slow["user_index"].to_numpy().astype(np.int64),
        day=slow["day"].to_numpy().astype(np.int64),
        habits=list_matrix(slow["habits"]),
        sums=DaySums.of(listens.user, listens.track, listens.played_at, vectors),
    )
    return Dataset(
        manifest=manifest,
        user_ids=sequences["user_id"].to_list(),
        listens=listens,
        tracks=read_frame(folder.open("tracks.parquet")),
        vectors=vectors,
        n_catalogue=manifest["counts"]["catalogue"],
        snapshots=snapshots,
        slow_row=snapshots.rows_of(listens.user, listens.played_at // DAY_US),
        recent=RecentDays(
            user_G=recent["user_index"].to_numpy().astype(np.int64),
            day_G=recent["day"].to_numpy().astype(np.int64),
            counts_GC=recent["counts"].explode().to_numpy().reshape(-1, len(RECENT_COUNTS)),
        ),
    )


def list_matrix(column: pl.Series) -> NDArray[np.float32]:
    """Return a column of equally long lists as a matrix, [rows, length]."""
    return np.ascontiguousarray(column.explode().to_numpy().reshape(len(column), -1), dtype=np.float32)
