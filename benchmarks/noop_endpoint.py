"""An endpoint that answers at once, on Ray Serve with the settings of ours: what no model could be faster than.

Run by `benchmarks.serving`: python -m benchmarks.noop_endpoint PORT REPLICAS
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from serving.app import wait
from serving.ray_serve import on_ray


def application(replicas: int) -> Any:
    """Return the application: one route that reads nothing and says the same."""
    from fastapi import FastAPI
    from ray import serve

    app = FastAPI()

    @app.post("/v1/next-tracks")
    async def next_tracks() -> dict[str, str]:
        return {"status": "ok"}

    @serve.deployment(
        num_replicas=replicas, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64, max_queued_requests=256
    )
    @serve.ingress(app)
    class Noop:
        pass

    return Noop.bind()  # type: ignore[attr-defined]  # the decorator makes it a Deployment


def main(port: int, replicas: int) -> None:
    """Serve until SIGTERM."""
    with on_ray("127.0.0.1", port, max(replicas, 2), partial(application, replicas)):
        wait()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
