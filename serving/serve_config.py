"""What can be set of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass

MAX_K = 500
"""Most tracks that one request may ask for."""


@dataclass
class ServeConfig:
    """How the endpoint is served."""

    host: str = "127.0.0.1"
    """Address to listen on; one that is not loopback needs a token in the environment variable FSVAE_TOKEN."""
    port: int = 8000
    """Port to listen on; 0: a free one."""
    replicas: int = 1
    """Processes that answer."""
    num_cpus: int = 2
    """CPUs that Ray may use; each replica takes one."""
    approximate_from: int = 1_000_000
    """Catalogues of at least this many tracks are searched approximately, with faiss."""
    version: int = 0
    """Version of the registered model; 0: the champion."""
