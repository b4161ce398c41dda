"""The champion is exchanged under load: nobody notices but by the version in the answers."""

from __future__ import annotations

import contextlib
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from fsvae.bundle import load_bundle
from fsvae.online_recommender import OnlineRecommender
from serving.stores.open_store import open_store
from tests.e2e.chaos import (
    Outcome,
    Service,
    acknowledged,
    clients_of,
    compare_answers,
    compare_events,
    small_model,
    stored_events,
    waited_for,
)

pytestmark = pytest.mark.e2e

SWAPS = 20
FALLBACK = 8500
"""Port at which Ray answers for any endpoint of the machine whose replicas are down, unless it is told another one."""


def check_ports(service: Service) -> None:
    """What answers for the endpoint is at ports that no other endpoint has."""
    ports = set()
    for process in service.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # some end once it has started
            ports |= {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    first = min(port for port in ports if port >= 30_000) // 100 * 100
    assert {first + 1, first + 2} <= ports and FALLBACK not in ports


def test_swaps_under_load_fail_no_request_and_each_client_sees_each_once(tmp_path: Path) -> None:
    workspace, outcome = small_model(tmp_path / "work", seeds=(1, 2)), Outcome()
    bundles = {version: load_bundle(workspace.tracker.bundle(version)) for version in (1, 2)}
    with Service(workspace, "serve.poll_s=0.2") as service:
        check_ports(service)
        order = [1 + swap % 2 for swap in range(SWAPS + 1)]
        with clients_of(service.url, bundles[1], seed=1) as clients:
            for version in order:
                workspace.tracker.make_champion(version)
                name = f"fsvae/{version}"
                assert waited_for(lambda name=name: all(one.versions[-1:] == [name] for one in clients)), name  # type: ignore[misc]
        for client in clients:
            assert client.problems == [] and client.failed == Counter()
            assert client.versions == [f"fsvae/{version}" for version in order]
        with closing(open_store(workspace.store_place)) as store:
            compare_events("the store", acknowledged(clients), Counter(stored_events(store)), outcome)
            last = OnlineRecommender(bundles[order[-1]], None, store.of_user, store.tracks)
            compare_answers(service.url, last, outcome)
            assert outcome.problems == []
            outcome = Outcome()
            other = OnlineRecommender(bundles[order[-2]], None, store.of_user, store.tracks)
            compare_answers(service.url, other, outcome)
            assert outcome.problems != []  # the models do not answer alike
