"""What can be set of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import Size

MAX_K = 500
"""Most tracks that one request may ask for."""


@dataclass
class ServeConfig:
    """How the endpoint is served."""

    host: str = "127.0.0.1"
    """Address to listen on; one that is not loopback needs a token in the environment variable FSVAE_TOKEN."""
    port: Annotated[int, Interval(ge=0, le=65_535)] = 8000
    """Port to listen on; 0: a free one."""
    replicas: Size = 1
    """Processes that answer."""
    num_cpus: Size = 2
    """CPUs that Ray may use; each replica takes one."""
    approximate_from: Annotated[int, Interval(ge=1, le=10**12)] = 1_000_000
    """Catalogues of at least this many tracks are searched approximately, with faiss."""
    clock_skew_s: Annotated[float, Interval(ge=0, le=86_400)] = 300.0
    """How much later than its request a recent listen may be, as clocks differ, in seconds; the request then counts as
    made at the time of that listen. 0: none is taken that is later."""
    version: Annotated[int, Interval(ge=0, le=10**9)] = 0
    """Version of the registered model; 0: the champion."""
