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
from serving import ray_serve
from serving.app import running
from serving.serve_config import ServeConfig
from serving.stores.open_store import StorePlace
from serving.stores.store import Served


def served(bundle: Path, **settings: str) -> AbstractContextManager[str]:
    place = StorePlace("sqlite", str(bundle / "listens.sqlite"))
    return running(ServeConfig(port=0, **settings), Served("fsvae/1", str(bundle)), place)  # type: ignore[arg-type]


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
    from serving.ray_serve import check_free

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"serve.port={port}"):
            check_free("127.0.0.1", port)


def test_a_free_port_is_none_that_the_system_may_hand_out_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(20_000 <= ray_serve.free_port("127.0.0.1") < 30_000 for _ in range(20))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(ray_serve, "_PORTS", range(taken.getsockname()[1], taken.getsockname()[1] + 1))
        with pytest.raises(UserError, match=r"serve\.port"):
            ray_serve.free_port("127.0.0.1")


def test_each_endpoint_has_ports_of_its_own_for_its_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ray_serve._PORT_SETTINGS
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_serve, "_REPLICA_PORTS", range(32_500, 32_700))

    def kept() -> tuple[int, ...]:
        return tuple(int(os.environ.pop(name)) for name in names)  # as in another process

    with ray_serve._ports_of_its_own():
        one = kept()
        with ray_serve._ports_of_its_own():
            other = kept()
            assert {one, other} == {(32_501, 32_502, 32_599), (32_601, 32_602, 32_699)}
            with pytest.raises(UserError, match="2 endpoints run"), ray_serve._ports_of_its_own():
                pass
            os.environ |= dict.fromkeys(names, "1")
        os.environ |= dict.fromkeys(names, "1")
    with ray_serve._ports_of_its_own():
        assert kept() == one
        os.environ |= dict.fromkeys(names, "1")
    monkeypatch.setenv(names[0], "5000")
    with ray_serve._ports_of_its_own():
        assert os.environ[names[0]] == "5000" and names[1] not in os.environ
