"""Playlists and embeddings: stored once, named in the manifest, and all or nothing like events."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakes import disk
from log_samples import playlists, zipped

from fsvae.data.dataset import open_dataset
from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.lake_files import SIDE_TABLES
from fsvae.schema import PLAYLISTS, TRACK_EMBEDDINGS
from pipelines.ingest.ingest import Counts, ingest
from pipelines.lake import side_tables
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare


def put_playlists(root: Path, name: str, *playlists: dict[str, Any], **config: Any) -> tuple[Lake, Counts]:
    path = root / name
    path.write_text(json.dumps({"info": {}, "playlists": playlists}))
    lake = Lake(root / "lake")
    summary = ingest(lake, SourceConfig(reader="spotify_playlists", path=str(path), **config))
    assert summary.days == []
    return Lake(lake.root), summary.counts


def track(pos: Any, uri: Any, **more: Any) -> dict[str, Any]:
    return {"pos": pos, "track_uri": uri} | more


def put_embeddings(root: Path, name: str, ids: list[Any], vectors: list[Any]) -> tuple[Lake, Counts]:
    path = root / name
    pq.write_table(pa.table({"item_id": pa.array(ids, pa.uint32()), "embed": pa.array(vectors)}), path)
    lake = Lake(root / "lake")
    summary = ingest(lake, SourceConfig(reader="yambda", path=str(path), max_reject_share=0.8))
    return Lake(lake.root), summary.counts


def playlists_of(lake: Lake) -> list[tuple[str, int, str]]:
    """The rows of all playlists; of equal (playlist, position) the first that came stays."""
    files = [pl.DataFrame(pl.from_arrow(pq.read_table(lake.open(entry)))) for entry in lake.manifest.playlists]
    return pl.concat(files).unique(SIDE_TABLES["playlists"].key, keep="first", maintain_order=True).rows()


def test_playlists_and_what_they_say_of_tracks(tmp_path: Path) -> None:
    playlists = [
        {"pid": 7, "tracks": [track(0, "a", track_name="A", duration_ms=5), track(1, "b"), track(1, "c")]},
        {"pid": 8, "tracks": [track(0, "a", artist_name="X")]},
    ]
    lake, counts = put_playlists(tmp_path, "mpd.slice.0.json", *playlists)
    assert counts == Counts(rows_in=4, taken=3, duplicates=1)  # the second at place 1
    assert playlists_of(lake) == [("7", 0, "a"), ("7", 1, "b"), ("8", 0, "a")]
    (entry,) = lake.manifest.playlists
    assert entry["rows"] == 3
    assert pq.read_schema(disk(lake) / entry["path"]).equals(PLAYLISTS)
    tracks = lake.read_tracks().select("track_id", "title", "artist_name", "duration_ms").rows()
    assert tracks == [("a", "A", "X", 5), ("b", None, None, None), ("c", None, None, None)]
    lake, counts = put_playlists(tmp_path, "mpd.slice.1.json", {"pid": 9, "tracks": [track(0, "b")]}, *playlists)
    assert len(lake.manifest.playlists) == 2
    assert playlists_of(lake) == [("7", 0, "a"), ("7", 1, "b"), ("8", 0, "a"), ("9", 0, "b")]


def test_a_rejected_log_of_playlists_leaves_the_lake_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = put_playlists(tmp_path, "mpd.slice.0.json", {"pid": 7, "tracks": [track(0, "a")]})
    before = sorted(path.name for path in disk(lake).rglob("part-*.parquet"))
    monkeypatch.setitem(side_tables._ROWS_A_FILE, "playlists", 1)
    bad = {"pid": 8, "tracks": [track(0, "b"), track(-1, "c"), track(1.5, "d"), track(None, "e"), track(4, None)]}
    with pytest.raises(UserError, match=r"4 of 5 rows rejected.*line 1, position: not a whole number from 0 on"):
        put_playlists(tmp_path, "mpd.slice.1.json", bad)
    assert sorted(path.name for path in disk(lake).rglob("part-*.parquet")) == before
    assert playlists_of(Lake(lake.root)) == [("7", 0, "a")]


def test_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = [[1.0, 2.0], [3.0, 4.0], [5.0], [1.0, float("nan")], [1e300, 0.0], None, [], [1.0, None], [9.0, 9.0]]
    lake, counts = put_embeddings(tmp_path, "embeddings.parquet", [1, 2, 3, 4, 5, 6, 7, 8, 1], vectors)
    finite = "embedding: holds something that is not a finite number"
    reasons = {finite: 3, "embedding: missing": 2, "embedding: not 2 numbers, as many as the log's first has": 1}
    assert counts == Counts(rows_in=9, taken=2, rejected=6, duplicates=1, reasons=reasons)
    assert lake.read_embeddings().rows() == [("1", [1.0, 2.0]), ("2", [3.0, 4.0])]
    assert pq.read_schema(disk(lake) / lake.manifest.embeddings[0]["path"]).equals(TRACK_EMBEDDINGS)
    monkeypatch.setitem(side_tables._ROWS_A_FILE, "embeddings", 1)
    lake, _ = put_embeddings(tmp_path, "more.parquet", [2, 9], [[0.5, 0.5], [0.0, 1.0]])
    assert lake.read_embeddings().rows() == [("1", [1.0, 2.0]), ("2", [0.5, 0.5]), ("9", [0.0, 1.0])]
    assert len(lake.manifest.days) == 0


def test_all_embeddings_of_a_log_are_as_long_as_its_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first and the others are read one after the other."""
    monkeypatch.setattr("fsvae.logs.sources.yambda._EMBEDDINGS_AT_ONCE", 2)
    vectors = [None, [1.0, 2.0], [1.0, 2.0, 3.0], [3.0, 4.0], [5.0]]
    lake, counts = put_embeddings(tmp_path, "embeddings.parquet", [1, 2, 3, 4, 5], vectors)
    assert (counts.taken, counts.rejected) == (2, 3)
    assert lake.read_embeddings()["track_id"].to_list() == ["2", "4"]


TRACKS = 60
"""Of the catalogue: the even ones are of one taste, the odd ones of another."""
BY_ARTIST, BY_ALBUM, BY_SOUND, UNKNOWN = OUTSIDE = (100, 101, 103, 104)
"""Tracks that are heard once, so that they are none of it; the third is odd by its sound."""
ARTISTS = {0: "a", 2: "a", BY_ARTIST: "a", 1: "b", 3: "b", 5: "b", BY_ALBUM: "b"}
ALBUMS = {0: "A1", 2: "A2", 1: "B1", 3: "B1", 5: "B2", BY_ALBUM: "B1"}


def side_data_lake(root: Path) -> Lake:
    """Listens two hours from each other, each a session of its own; playlists and embeddings of one taste each."""
    chance = random.Random(1)
    listens = [f"u0,{track},{7200 * hour}" for hour, track in enumerate(OUTSIDE)]
    for user in range(8):
        order = chance.sample(range(TRACKS), TRACKS)
        listens += [f"u{user},{track},{7200 * hour}" for hour, track in enumerate(order, 4)]
    (root / "plays.csv").write_text("\n".join(["user_id,track_id,played_at", *listens]))

    lists = [chance.sample(range(number % 2, TRACKS, 2), 12) for number in range(80)]
    lists[0].append(BY_ARTIST)
    lists[1].append(BY_ALBUM)
    slices = [[mpd_playlist(pid, lists[pid]) for pid in part] for part in (range(40), range(40, 80))]
    members = {f"data/mpd.slice.{number}.json": playlists(*part) for number, part in enumerate(slices)}
    (root / "mpd.zip").write_bytes(zipped(members))

    ids = [*range(TRACKS), BY_SOUND]
    sounds = [[1.0 - track % 2, track % 2, chance.uniform(-0.1, 0.1)] for track in ids]
    table = {"item_id": pa.array(ids, pa.uint32()), "embed": pa.array(sounds), "normalized_embed": pa.array(sounds)}
    pq.write_table(pa.table(table), root / "embeddings.parquet")

    lake = Lake(root / "lake")
    for reader, name in [("table", "plays.csv"), ("spotify_playlists", "mpd.zip"), ("yambda", "embeddings.parquet")]:
        counts = ingest(lake, SourceConfig(reader=reader, path=str(root / name), time_unit="s")).counts
        assert counts.taken == counts.rows_in
    return lake


def mpd_playlist(pid: int, tracks: list[int]) -> dict[str, Any]:
    told = [{"artist_uri": ARTISTS.get(number), "album_name": ALBUMS.get(number)} for number in tracks]
    return {"pid": pid, "tracks": [track(pos, str(tracks[pos]), **told[pos]) for pos in range(len(tracks))]}


def test_playlists_and_embeddings_reach_the_dataset(tmp_path: Path) -> None:
    config = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=10, sample=0))
    made = open_dataset(prepare(side_data_lake(tmp_path), config, 1, tmp_path / "datasets").folder)
    origins = dict(zip(made.tracks["track_id"], made.tracks["vector_origin"], strict=True))
    assert {origins[str(track)] for track in range(TRACKS)} == {"trained"}
    assert [origins[str(track)] for track in OUTSIDE] == ["artist", "album", "embedding", "none"]
    counts = {"trained": TRACKS, "album": 1, "artist": 1, "embedding": 1, "none": 1}
    assert made.manifest["track_space"]["origins"] == counts

    def vectors(*tracks: int) -> Any:
        place = made.tracks["track_id"].to_list()
        return made.vectors[[place.index(str(number)) for number in tracks]]

    even, odd = vectors(*range(0, TRACKS, 2)), vectors(*range(1, TRACKS, 2))  # only playlists can tell them apart
    assert min((even @ even.T).min(), (odd @ odd.T).min()) > 0.5 and (even @ odd.T).max() < -0.5
    for number, others in [(BY_ARTIST, (0, 2)), (BY_ALBUM, (1, 3))]:
        mean = vectors(*others).sum(axis=0)
        np.testing.assert_allclose(vectors(number)[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert (vectors(BY_SOUND) @ odd.T).min() > 0.5 and (vectors(BY_SOUND) @ even.T).max() < -0.5
