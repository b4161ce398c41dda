"""What the endpoint refuses before it starts anything."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from plain_model import PLAIN

from fsvae.bundle import load_bundle, save_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from fsvae.online_recommender import OnlineRecommender
from serving import ports, ray_serve
from serving.app import running
from serving.serve_config import ServeConfig
from serving.stores.open_store import StorePlace
from serving.stores.store import Served


def served(bundle: Path, **settings: str) -> AbstractContextManager[str]:
    place = StorePlace("sqlite", str(bundle / "listens.sqlite"))
    return running(ServeConfig(port=0, **settings), Served("fsvae/1", str(bundle)), place, bundle / "log")  # type: ignore[arg-type]


def test_other_addresses_need_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FSVAE_TOKEN", raising=False)
    with (
        pytest.raises(UserError, match=r"serve\.host=0\.0\.0\.0 .* FSVAE_TOKEN"),
        served(tmp_path, host="0.0.0.0"),
    ):
        pass


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="no bundle there"),
        served(tmp_path),
    ):
        pass


def test_a_model_for_comparisons_only_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    model = FSVAENetwork.for_dataset(
        small_dataset, ModelConfig(history=4, slow_hidden=4, fast_hidden=4, fast="shuffled", **PLAIN)
    )
    save_bundle(tmp_path, model, small_dataset, {})
    with pytest.raises(UserError, match=r"fast=shuffled, which is for comparisons only: serve another version"):
        OnlineRecommender(load_bundle(tmp_path), approximate_from=10_000)
    with (
        pytest.raises(UserError, match="for comparisons only"),
        served(tmp_path),
    ):
        pass


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"serve.port={port}"):
            ports.check_free("127.0.0.1", port)


def test_a_free_port_is_none_that_the_system_may_hand_out_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(20_000 <= ports.free_port("127.0.0.1") < 30_000 for _ in range(20))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(ports, "_PORTS", range(taken.getsockname()[1], taken.getsockname()[1] + 1))
        with pytest.raises(UserError, match=r"serve\.port"):
            ports.free_port("127.0.0.1")


def test_each_endpoint_has_ports_of_its_own_for_its_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_REPLICA_PORTS", range(32_500, 32_700))
    low, high = ["32501", "32502", "32599"], ["32601", "32602", "32699"]
    with ports.ports_of_its_own(8_000) as one:
        assert [*one.values()] == low
        with ports.ports_of_its_own(8_000) as other:
            assert [*other.values()] == high
            with pytest.raises(UserError, match="2 endpoints run"), ports.ports_of_its_own(8_000):
                pass
    with ports.ports_of_its_own(32_500) as around:
        assert [*around.values()] == high
    with socket.socket() as left:  # what a killed endpoint has started may live on
        left.bind(("127.0.0.1", 32_502))
        with ports.ports_of_its_own(8_000) as behind:
            assert [*behind.values()] == high
    with ports.ports_of_its_own(8_000) as again:
        assert [*again.values()] == low


def test_settings_of_ray_are_in_the_environment_for_its_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    before = dict(os.environ)
    with ray_serve._environment({"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_OTHER": "2"}):
        assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "0" and os.environ["RAY_OTHER"] == "2"
    assert dict(os.environ) == before
