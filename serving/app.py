"""The endpoint on Ray Serve: starting it, waiting for it, and shutting it down."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fsvae.bundle import load_bundle
from fsvae.errors import UserError
from fsvae.online_recommender import check_servable
from serving.logs import log, log_to
from serving.ray_serve import on_ray
from serving.serve_config import ServeConfig
from serving.stores.open_store import StorePlace, open_store
from serving.stores.store import Served, Store

TOKEN_VARIABLE = "FSVAE_TOKEN"


@contextmanager
def running(
    config: ServeConfig,
    served: Served,
    place: StorePlace,
    file: Path,
    champion: Callable[[], Served] | None = None,
) -> Iterator[str]:
    """Serve a model while the context is open; yields the base URL once the endpoint answers.

    Args:
        config: address, replicas, CPUs.
        served: the model.
        place: the store of what the endpoint is told, made if it is missing.
        file: the log, made if it is missing.
        champion: function that returns the model that is to be served by now, called again and again; by default it
            stays the same.

    Raises:
        UserError: the address is not loopback and no token is set, the port is taken, or the bundle or the store cannot
            be opened.
    """
    token = os.environ.get(TOKEN_VARIABLE) or None
    if not _is_loopback(config.host) and token is None:
        raise UserError(
            f"serve.host={config.host} is reachable from other machines: set a secret in the environment variable "
            f"{TOKEN_VARIABLE}, which requests then carry as 'Authorization: Bearer …', or serve on 127.0.0.1."
        )
    if ":" in config.host:
        raise UserError(f"serve.host={config.host}: IPv6 is not served; use an IPv4 address such as 127.0.0.1.")
    if config.replicas > config.num_cpus:
        raise UserError(f"serve.replicas={config.replicas} needs as many CPUs: serve.num_cpus={config.num_cpus}.")
    check_servable(load_bundle(Path(served.bundle)))  # raise its errors here, not in a replica that fails to start
    with closing(open_store(place)) as store, tempfile.TemporaryDirectory(prefix="fsvae-metrics-") as counted:
        log_to(file)
        endpoint = uuid.uuid4().hex  # of this run: others on the same store have models of their own
        store.serve(endpoint, served).result()

        # it imports Ray, which reads the environment then
        def application() -> Any:
            from serving.deployment import next_track_app

            return next_track_app(endpoint, place, token, config, counted, file)

        with (
            on_ray(config.host, config.port, config.num_cpus, application) as url,
            _watching(champion, served, store, endpoint, config.poll_s),
        ):
            yield url


@contextmanager
def _watching(
    champion: Callable[[], Served] | None, served: Served, store: Store, endpoint: str, every_s: float
) -> Iterator[None]:
    """Tell the store of another champion while the context is open."""
    ended = threading.Event()

    def work() -> None:
        latest = served
        while champion is not None and not ended.wait(every_s):
            try:
                if (now := champion()) != latest:
                    store.serve(endpoint, now).result()
                    latest = now
            except Exception as error:  # the registry or the store may be away for a while
                log(logging.WARNING, "the champion is not known now", why=str(error))

    thread = threading.Thread(target=work, daemon=True, name="champion")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait() -> None:
    """Return when a supervisor asks the process to end (SIGTERM).

    Raises:
        KeyboardInterrupt: Ctrl-C; a second one does not interrupt the shutdown.
    """
    asked = threading.Event()
    asked_by: list[int] = []

    def end(number: int, _: object) -> None:
        asked_by.append(number)
        asked.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)
    asked.wait()
    if asked_by[0] == signal.SIGINT:
        raise KeyboardInterrupt("the endpoint is down")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ask(url: str, question: dict[str, Any]) -> dict[str, Any]:
    """Post a question to a running endpoint and return its answer."""
    import httpx

    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx.post(f"{url}/v1/next-tracks", json=question, headers=headers, timeout=30)
    response.raise_for_status()
    return dict(response.json())
