"""Endpoints in this process, over a real model and a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fastapi.testclient import TestClient

from fsvae.bundle import Bundle, load_bundle, save_bundle
from fsvae.data.dataset import Dataset
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.online_recommender import OnlineRecommender
from serving.api import Endpoint, create_app
from serving.metrics import Metrics
from serving.model_thread import Model, ModelThread
from serving.stores.store import Store

SMALL: dict[str, Any] = {
    "history": 8,
    "slow_hidden": 16,
    "slow_dim": 8,
    "fast_hidden": 16,
    "latent_dim": 8,
    "ranked": 20,
}


def memory_bundle(dataset: Dataset, folder: Path, seed: int = 0, **settings: Any) -> Bundle:
    """An untrained default model with a memory, small."""
    torch.manual_seed(seed)
    save_bundle(folder, FSVAENetwork.for_dataset(dataset, ModelConfig(**{**SMALL, **settings})), dataset, {})
    return load_bundle(folder)


def client_of(
    recommender: OnlineRecommender,
    store: Store,
    token: str | None = None,
    clock_skew_s: float = 300.0,
    version: str = "fsvae/7",
) -> TestClient:
    """A client of the routes over a recommender."""
    return client_of_models(ModelThread(Model(recommender, version), 8, Metrics()), store, token, clock_skew_s)


def client_of_models(
    models: ModelThread, store: Store, token: str | None = None, clock_skew_s: float = 300.0
) -> TestClient:
    """A client of the routes over a thread with a model."""
    return TestClient(create_app(Endpoint(models, store, Metrics(), token, clock_skew_s)))


def ask(client: TestClient, **question: Any) -> dict[str, Any]:
    """The answer to a request for the next tracks."""
    response = client.post("/v1/next-tracks", json=question)
    assert response.status_code == 200, response.text
    return dict(response.json())


def post(client: TestClient, *listens: dict[str, Any]) -> dict[str, Any]:
    """The answer to posted listens."""
    response = client.post("/v1/listens", json={"listens": listens})
    assert response.status_code == 200, response.text
    return dict(response.json())
