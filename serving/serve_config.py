"""Settings of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import OneOf, Share, Size

MAX_K = 500
"""Largest number of tracks in one request."""


@dataclass
class ServeConfig:
    """Settings of the endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; one that is not loopback needs a token in the environment variable FSVAE_TOKEN."""
    port: Annotated[int, Interval(ge=0, le=65_535)] = 8000
    """Port to listen on; 0: a free one."""
    replicas: Size = 1
    """Number of processes that answer."""
    num_cpus: Size = 2
    """Number of CPUs that Ray may use; each replica takes one."""
    approximate_from: Annotated[int, Interval(ge=1, le=10**12)] = 1_000_000
    """Size of the catalogue from which on it is searched approximately, with faiss."""
    clock_skew_s: Annotated[float, Interval(ge=0, le=86_400)] = 300.0
    """Largest time by which a listen, recent or posted, may be later than its request, as clocks differ, in seconds;
    the request then counts as made at the time of that listen. 0: later listens are refused."""
    store: Annotated[str, OneOf(("sqlite", "redis"))] = "sqlite"
    """Where what the endpoint is told is kept: sqlite, a file in the working folder, or redis."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Address of the Redis server (serve.store=redis), which should keep an append-only file, synced always."""
    batch: Size = 32
    """Largest number of requests that are answered together; nobody waits for others to come."""
    score_share: Share = 1.0
    """Share of the posted listens whose rank under the served model is taken; of fewer while requests wait."""
    poll_s: Annotated[float, Interval(ge=0.05, le=86_400)] = 2.0
    """How often it is looked whether there is another champion, in seconds."""
    version: Annotated[int, Interval(ge=0, le=10**9)] = 0
    """Version of the registered model, which is then kept; 0: the champion, whichever it is by then."""
