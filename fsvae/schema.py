"""Every table of the system as a pyarrow schema, with units: the only place that names columns."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from fsvae.kinds import KINDS as KINDS

SCHEMA_VERSION = 2
"""Version written into every manifest; a reader refuses any other."""

MAX_ID_LENGTH = 256
"""Length of the longest user or track id that is accepted, in characters."""

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Limits of valid times; a time outside is a mistake, such as a wrong unit."""


TIMESTAMP = pa.timestamp("us", tz="UTC")

EVENTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("played_at", TIMESTAMP, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("ms_played", pa.int32()),
        pa.field("duration_ms", pa.int32()),
        pa.field("context", pa.string()),
    ]
)
"""Events of the lake: one file a day, sorted by (bucket, user_id, played_at, position in the source)."""

LAKE_EVENTS = EVENTS.append(pa.field("artist_id", pa.string())).append(pa.field("bucket", pa.int16(), nullable=False))
"""EVENTS as stored in the lake. `artist_id` is the track's artist as known when the event was ingested, so that later
metadata changes nothing; `bucket` is the stable hash of the user: per-user work is a map over buckets."""

TRACKS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("artist_id", pa.string()),
        pa.field("artist_name", pa.string()),
        pa.field("album", pa.string()),
        pa.field("duration_ms", pa.int32()),
    ]
)
"""Metadata of a track; only the id is required."""

PLAYLISTS = pa.schema(
    [
        pa.field("playlist_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("track_id", pa.string(), nullable=False),
    ]
)
"""Playlists, from which track vectors can be learned as from sessions; positions count from 0."""

TRACK_EMBEDDINGS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
    ]
)
"""External embeddings of tracks (audio embeddings); all of one log have the same length."""

RAW_EVENTS = pa.schema([*EVENTS, *[field for field in TRACKS if field.name not in EVENTS.names]])
"""Rows of a listening log: an event and, where the log has it, metadata of the track."""

RAW_PLAYLISTS = pa.schema([*PLAYLISTS, *[field for field in TRACKS if field.name not in PLAYLISTS.names]])
"""Rows of a log of playlists: a track at its position and, where the log has it, metadata of the track."""

REJECTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ]
)
"""Rejected rows: file, line (1 = the first line or row), field at fault, reason, and the row as JSON."""

DATASET_TRACKS = pa.schema(
    [
        pa.field("track_index", pa.int32(), nullable=False),
        *TRACKS,
        pa.field("train_count", pa.int64(), nullable=False),
        pa.field("in_catalogue", pa.bool_(), nullable=False),
        pa.field("vector_origin", pa.string(), nullable=False),
    ]
)
"""All tracks of a prepared dataset: the catalogue, those with an imputed vector, the others; each by descending listen
count in the training period. `vector_origin` is one of `fsvae.features.imputed_vectors.ORIGINS`."""

SEQUENCES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("track_index", pa.list_(pa.int32()), nullable=False),
        pa.field("played_at", pa.list_(TIMESTAMP), nullable=False),
        pa.field("played_fraction", pa.list_(pa.float32()), nullable=False),
    ]
)
"""Sequences, one row a user; the list columns are the user's listens by (played_at, position in the source)."""

SLOW = pa.schema(
    [
        pa.field("user_index", pa.int32(), nullable=False),
        pa.field("day", pa.int32(), nullable=False),
        pa.field("habits", pa.list_(pa.float32()), nullable=False),
    ]
)
"""Slow snapshots: `user_index` is the row of the user in the sequences of the same shard, `day` counts days since
1970-01-01 UTC and the snapshot holds events before its 00:00.

`habits` are the features of `fsvae.features.slow.HABITS`. The taste is computed from sequences and vectors on reading.
"""

RECENT_DAYS = pa.schema(
    [
        pa.field("user_index", pa.int32(), nullable=False),
        pa.field("day", pa.int32(), nullable=False),
        pa.field("counts", pa.list_(pa.int32()), nullable=False),
    ]
)
"""Days with events from 27 days before each user's latest listen on, from which snapshots as of any later day are
computed: `user_index` and `day` as in SLOW, `counts` as named by `fsvae.features.recent_days.RECENT_COUNTS`."""

EVALUATION_RESULTS = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("played_at", TIMESTAMP, nullable=False),
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("in_catalogue", pa.bool_(), nullable=False),
        pa.field("rank", pa.int64()),
        pa.field("catalogue_rank", pa.int64()),
        pa.field("l2", pa.float64()),
        pa.field("cosine", pa.float64()),
        pa.field("recommended", pa.list_(pa.int32()), nullable=False),
        pa.field("novelty", pa.float64(), nullable=False),
        pa.field("diversity", pa.float64(), nullable=False),
        pa.field("uncertainty", pa.float32()),
        pa.field("nats", pa.float64()),
        pa.field("first_p", pa.float64()),
        pa.field("first_came", pa.bool_()),
    ]
)
"""Results of an evaluation, one row a model and target: the target's flat position in the dataset, whether it is in the
trained catalogue, its rank (null: a miss) and distances (null: outside the catalogue), the `track_index` of the
recommended tracks, best first (-1: no track), and their novelty and diversity
(`fsvae.evaluation.result.EvaluationResult`). `uncertainty`, and `nats`, `first_p` and `first_came`, are
null where the model gives none."""
