"""The Ray Serve deployment: each replica opens the bundle once and answers through the FastAPI routes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig

from serving.metrics import SHARED_FOLDER
from serving.serve_config import ServeConfig
from serving.stores.open_store import StorePlace


def next_track_app(
    endpoint: str, store: StorePlace, token: str | None, config: ServeConfig, counted: str, file: Path
) -> Any:
    """Return the application to run: the routes of `serving.api` over a model and a store.

    Args:
        endpoint: name by which the store knows which model is to be served.
        store: place of the store.
        token: see `serving.api.Endpoint`.
        config: settings.
        counted: folder in which replicas share what they count.
        file: the log.
    """

    def build() -> Any:
        import torch

        from serving.api import Endpoint, create_app
        from serving.logs import log, log_to
        from serving.metrics import Metrics
        from serving.model_thread import ModelThread
        from serving.stores.open_store import open_store
        from serving.swap import follow, opened

        torch.set_num_threads(1)  # requests are answered in one thread; one model step is too small for several
        log_to(file)
        opened_store, metrics = open_store(store), Metrics()
        served = opened_store.served(endpoint)
        assert served is not None, "it is said before the replicas are started"
        models = ModelThread(opened(served, opened_store, config), config.batch, metrics)
        follow(models, opened_store, endpoint, config, metrics)
        log(logging.INFO, "a replica is ready", version=served.version)
        return create_app(Endpoint(models, opened_store, metrics, token, config.clock_skew_s, config.score_share))

    @serve.deployment(
        name="next-tracks",
        num_replicas=config.replicas,
        # in the environment of the replicas alone: Ray's other processes would count there, too
        ray_actor_options={"num_cpus": 1, "runtime_env": {"env_vars": {SHARED_FOLDER: counted}}},
        max_ongoing_requests=64,
        max_queued_requests=256,  # more are answered 503 at once
        backpressure_config=BackpressureConfig(retry_after_s=1),
    )
    @serve.ingress(build)
    class NextTracks:
        pass

    return NextTracks.bind()  # type: ignore[attr-defined]  # the decorator makes it a Deployment
