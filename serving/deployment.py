"""The Ray Serve deployment: each replica opens the bundle once and answers through the FastAPI routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig

from serving.serve_config import ServeConfig


def next_track_app(bundle: str, live: str, model_version: str, token: str | None, config: ServeConfig) -> Any:
    """Return the application to run: the routes of `serving.api` over a bundle's folder and a file of listens."""

    def build() -> Any:
        import torch

        from fsvae.bundle import load_bundle
        from fsvae.online_recommender import OnlineRecommender
        from serving.api import create_app
        from serving.listen_store import SqliteStore

        torch.set_num_threads(1)  # requests run in parallel; one model step is too small for several threads
        store = SqliteStore(Path(live))
        recommender = OnlineRecommender(load_bundle(Path(bundle)), config.approximate_from, store.of_user)
        return create_app(lambda: recommender, store, model_version, token, config.clock_skew_s)

    @serve.deployment(
        name="next-tracks",
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=64,
        max_queued_requests=256,  # more are answered 503 at once
        backpressure_config=BackpressureConfig(retry_after_s=1),
    )
    @serve.ingress(build)
    class NextTracks:
        pass

    return NextTracks.bind()  # type: ignore[attr-defined]  # the decorator makes it a Deployment
