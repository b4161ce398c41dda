"""A small log in the real format of each source, written by the tests: source → files by name."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

USERS = ["user_000001", "user_000639"]


def parquet(table: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


def compressed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def tar(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return sink.getvalue()


def tsv(*rows: list[str]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


LASTFM = tsv(
    [
        "user_000639",
        "2009-04-08T01:57:47Z",
        "61e0",
        "The Dogs D'Amour",
        "aaaa-bbbb",
        'Fall in Love Again? (7" mix)',
    ],
    ["user_000639", "2009-04-08T01:53:56Z", "61e0", "The Dogs D'Amour", "", '"Wait Until Dead'],
    ["user_000001", "2009-05-04T23:08:57Z", "", "Deep Dish", "", ""],
)
SESSION_REC = tsv(
    ["UserId", "SessionId", "ItemId", "Time", "ArtistId"],
    ["10", "287144", "4698874", "1390231051", "44"],
    ["10", "287144", "838286", "1390231276.0", "45"],
)
JODIE = b"user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n0,10,0.0,0,.1,.2\n7,11,6.5,1,.1,.2\n"
TABLE = b"user_id,track_id,played_at\nu,t,1769860800\nv,t,1769861100\n"


def listen(**more: Any) -> dict[str, Any]:
    return {
        "user_id": 5,
        "user_name": "rob",
        "timestamp": 1500000000,
        "track_metadata": {
            "artist_name": "Portishead",
            "track_name": "Strangers",
            "release_name": "Dummy",
            "additional_info": {"recording_mbid": "sent", "duration_ms": 237000, "artist_mbids": ["sent-artist"]},
            "mbid_mapping": {"recording_mbid": "mapped", "artist_mbids": ["mapped-artist", "other"]},
        },
        "recording_msid": "msid",
    } | more


def json_lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def play(**more: Any) -> dict[str, Any]:
    return {
        "ts": "2020-04-11T00:27:53Z",
        "platform": "ios",
        "ms_played": 174674,
        "conn_country": "SG",
        "master_metadata_track_name": "Jack To The Future",
        "master_metadata_album_artist_name": "Alex Metric",
        "master_metadata_album_album_name": "Ammunition",
        "spotify_track_uri": "spotify:track:74cksX4vgcm0cHKaV7XE2L",
        "episode_name": None,
        "spotify_episode_uri": None,
        "audiobook_uri": None,
        "audiobook_chapter_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "incognito_mode": False,
    } | more


EPISODE = play(
    spotify_track_uri=None, spotify_episode_uri="spotify:episode:1", episode_name="One", master_metadata_track_name=None
)


def history(*plays: Any, indent: int | None = None) -> bytes:
    return json.dumps(list(plays), indent=indent).encode()


SPOTIFY_DOWNLOAD = {
    "Spotify Extended Streaming History/ReadMeFirst_ExtendedStreamingHistory.pdf": b"%PDF-1.4\0",
    "Spotify Extended Streaming History/Streaming_History_Audio_2020_1.json": history(play(), EPISODE),
    "Spotify Extended Streaming History/Streaming_History_Audio_2019_0.json": history(play(ts="2019-01-01T00:00:00Z")),
    "Spotify Extended Streaming History/Streaming_History_Video_2020.json": history(play()),
}


def playlist_track(pos: int, name: str) -> dict[str, Any]:
    return {
        "pos": pos,
        "artist_name": "Degiheugi",
        "track_uri": f"spotify:track:{name}",
        "artist_uri": "spotify:artist:3V2paBXEoZIAfZRXrHo2Sk",
        "track_name": name,
        "album_uri": "spotify:album:2",
        "duration_ms": 166264,
        "album_name": "Endless Smile",
    }


def playlists(*lists: Any, indent: int | None = None) -> bytes:
    info = {"generated_on": "2017-12-03 08:41:42.057563", "slice": "0-999", "version": "v1"}
    return json.dumps({"info": info, "playlists": list(lists)}, indent=indent).encode()


PLAYLIST = {"name": "musical", "pid": 5, "num_tracks": 2, "tracks": [playlist_track(0, "a"), playlist_track(1, "b")]}


def uint(*values: int | None, bits: int = 32) -> pa.Array:
    return pa.array(values, getattr(pa, f"uint{bits}")())


YAMBDA_FLAT = {
    "uid": uint(10, 10, 20, 20, 20),
    "timestamp": uint(15, 15, 20, 25, 30),
    "item_id": uint(1, 2, 3, 4, 5),
    "is_organic": uint(1, 0, 1, 1, 1, bits=8),
    "event_type": pa.array(["listen", "listen", "like", "dislike", "undislike"]).dictionary_encode(),
    "played_ratio_pct": uint(50, 29, None, None, None, bits=16),
    "track_length_seconds": uint(200, 100, None, None, None),
}
YAMBDA_SEQUENTIAL = {
    "uid": uint(10, 20),
    "timestamp": pa.array([[15, 15], [20]], pa.list_(pa.uint32())),
    "item_id": pa.array([[1, 2], [3]], pa.list_(pa.uint32())),
    "is_organic": pa.array([[1, 0], [1]], pa.list_(pa.uint8())),
}
YAMBDA_EMBEDDINGS = {
    "item_id": uint(1, 2),
    "embed": pa.array([[0.5, 1.5], [2.5, -1.0]]),
    "normalized_embed": pa.array([[0.3, 0.9], [0.9, -0.3]]),
}
SESSIONS = {
    "session_id": pa.array([0, 0, 1, 1, 1], pa.int32()),
    "position": pa.array([0, 1, 0, 1, 2], pa.int16()),
    "track_id": pa.array([1, 2, 3, 4, 3], pa.int32()),
}

SAMPLES: dict[str, dict[str, Callable[[], bytes]]] = {
    "jodie": {"lastfm.csv": lambda: JODIE},
    "lastfm1k": {
        "userid-timestamp-artid-artname-traid-traname.tsv": lambda: LASTFM,
        "userid-timestamp.tsv.gz": lambda: compressed(LASTFM, "gzip"),
    },
    "listenbrainz": {
        "1.listens": lambda: json_lines(listen(), listen(user_id=6)),
        "dump.tar.zst": lambda: compressed(tar({"dump/listens/2005/1.listens": json_lines(listen())}), "zstd"),
    },
    "session_rec": {
        "30music-200ks.csv": lambda: SESSION_REC,
        "30music.csv.bz2": lambda: compressed(SESSION_REC, "bz2"),
        "30music.zip": lambda: zipped({"30music/30music-200ks.csv": SESSION_REC}),
    },
    "sessions": {"train.parquet": lambda: parquet(SESSIONS)},
    "spotify_history": {
        "Streaming_History_Audio_2020_1.json": lambda: history(play(), EPISODE, play(skipped=True)),
        "endsong_0.json.gz": lambda: compressed(history(play(), indent=2), "gzip"),
        "my_spotify_data.zip": lambda: zipped(SPOTIFY_DOWNLOAD),
    },
    "spotify_playlists": {
        "mpd.slice.0-999.json": lambda: playlists(PLAYLIST, indent=4),
        "spotify_million_playlist_dataset.zip": lambda: zipped(
            {"data/mpd.slice.0-999.json": playlists(PLAYLIST), "md5sums": b"\0", "license.txt": b"x"}
        ),
    },
    "table": {
        "log.csv": lambda: TABLE,
        "log.csv.zst": lambda: compressed(TABLE, "zstd"),
        "log.zip": lambda: zipped({"log.csv": TABLE, "__MACOSX/._log.csv": b"\0"}, zipfile.ZIP_STORED),
    },
    "yambda": {
        "multi_event.parquet": lambda: parquet(YAMBDA_FLAT),
        "likes.parquet": lambda: parquet(YAMBDA_SEQUENTIAL),
        "embeddings.parquet": lambda: parquet(YAMBDA_EMBEDDINGS),
    },
}
