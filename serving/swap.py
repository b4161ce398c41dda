"""Exchanging the model while it is served: the new one is loaded and warmed beside the old one, then switched to."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from fsvae.bundle import load_bundle
from fsvae.online_recommender import OnlineRecommender
from serving.logs import log
from serving.metrics import Metrics
from serving.model_thread import Model, ModelThread
from serving.serve_config import ServeConfig
from serving.stores.store import Served, Store, StoreError


def opened(served: Served, store: Store, config: ServeConfig) -> Model:
    """Return a model, ready to answer."""
    bundle = load_bundle(Path(served.bundle))
    return Model(OnlineRecommender(bundle, config.approximate_from, store.of_user, store.tracks), served.version)


def follow(models: ModelThread, store: Store, endpoint: str, config: ServeConfig, metrics: Metrics) -> None:
    """Start a thread that switches to the model that the store names for an endpoint, whenever it names another."""

    def work() -> None:
        failed: Served | None = None
        while True:
            time.sleep(config.poll_s)
            try:
                served = store.served(endpoint)
            except StoreError:
                continue  # requests say so
            if served is None or served.version == models.model.version or served == failed:
                continue
            before = models.model.version
            try:
                exchange(models, served, store, config)
            except StoreError:  # again later
                log(logging.WARNING, "the model waits for the store", version=served.version)
            except Exception as error:  # a broken bundle must not end the one that answers
                failed = served
                metrics.swapped("failed")
                stays = models.model.version
                log(logging.ERROR, "a model cannot be served", version=served.version, stays=stays, why=str(error))
            else:
                failed = None
                metrics.swapped("done")
                log(logging.INFO, "another model is served", version=served.version, before=before)

    threading.Thread(target=work, daemon=True, name="swap").start()


def exchange(models: ModelThread, served: Served, store: Store, config: ServeConfig) -> None:
    """Load a model, bring over the users whose states are kept, and switch to it.

    Users go on listening meanwhile: what was posted after a state was brought over is read from the store with the
    next request, as always.
    """
    model = opened(served, store, config)
    users = models.call(lambda model: model.recommender.kept_users).result()
    for begin in range(0, len(users), config.batch):
        model.recommender.read(users[begin : begin + config.batch])
    models.switch(model).result()
