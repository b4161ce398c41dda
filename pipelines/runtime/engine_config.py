"""Settings of the engine, apart from it, as every command reads them and few start processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from fsvae.limits import OneOf


@dataclass
class EngineConfig:
    """Settings of the engine that runs the pieces of a job."""

    name: Annotated[str, OneOf(("local", "ray"))] = "local"
    """Kind of engine: local (processes of this machine), or ray (a Ray cluster; all nodes see lake and datasets)."""
    workers: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Number of processes of the local engine; 0: one for each core."""
    address: str = ""
    """Address of the Ray cluster; empty: that of RAY_ADDRESS, or else one is started on this machine."""
