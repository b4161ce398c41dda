"""An endpoint that answers at once, on Ray Serve with the settings of ours: what no model could be faster than.

Run by `benchmarks.serving`: python -m benchmarks.noop_endpoint PORT
"""

from __future__ import annotations

import sys
from typing import Any

from serving.app import wait
from serving.ray_serve import on_ray


def application() -> Any:
    """Return the application: one route that reads nothing and says the same."""
    from fastapi import FastAPI
    from ray import serve

    app = FastAPI()

    @app.post("/v1/next-tracks")
    async def next_tracks() -> dict[str, str]:
        return {"status": "ok"}

    @serve.deployment(
        num_replicas=1, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64, max_queued_requests=256
    )
    @serve.ingress(app)
    class Noop:
        pass

    return Noop.bind()  # type: ignore[attr-defined]  # the decorator makes it a Deployment


def main(port: int) -> None:
    """Serve until SIGTERM."""
    with on_ray("127.0.0.1", port, 2, application):
        wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
