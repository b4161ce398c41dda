"""The endpoint on Ray Serve: starting it, waiting for it, and shutting it down."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import logging
import os
import random
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fsvae.bundle import load_bundle
from fsvae.errors import UserError
from fsvae.online_recommender import check_servable
from serving.serve_config import ServeConfig
from serving.stores.open_store import StorePlace, open_store
from serving.stores.store import Served, Store

_LOG = logging.getLogger("fsvae.serving")
TOKEN_VARIABLE = "FSVAE_TOKEN"
_PORTS = range(20_000, 30_000)


@contextmanager
def running(
    config: ServeConfig, served: Served, place: StorePlace, champion: Callable[[], Served] | None = None
) -> Iterator[str]:
    """Serve a model while the context is open; yields the base URL once the endpoint answers.

    Args:
        config: address, replicas, CPUs.
        served: the model.
        place: the store of what the endpoint is told, made if it is missing.
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
        store.serve(served).result()
        with _deployed(config, served, place, counted) as url, _watching(champion, served, store, config.poll_s):
            yield url


@contextmanager
def _watching(champion: Callable[[], Served] | None, served: Served, store: Store, every_s: float) -> Iterator[None]:
    """Tell the store of another champion while the context is open."""
    ended = threading.Event()

    def work() -> None:
        latest = served
        while champion is not None and not ended.wait(every_s):
            try:
                if (now := champion()) != latest:
                    store.serve(now).result()
                    latest = now
            except Exception as error:  # the registry or the store may be away for a while
                _LOG.warning("the champion is not known now: %s", error)

    thread = threading.Thread(target=work, daemon=True, name="champion")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _deployed(config: ServeConfig, served: Served, place: StorePlace, counted: str) -> Iterator[str]:
    """Run the deployment on Ray Serve; `counted` is the folder in which replicas share what they count."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    port = config.port or _free_port(config.host)
    _check_free(config.host, port)
    # Ray reads these on import; with them a request takes a tenth of the time (docs/decisions.md).
    os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
    os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's workers make way for all other processes (niceness 15): on a busy machine the endpoint would hardly answer.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # 5 s are too few there
    # Serve shuts down by killing its own controller, which Ray reports as a failure, from a separate thread.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", r"ServeController\.graceful_shutdown")
    # HAProxy's own pages would be on fixed ports, which would make a second endpoint on the machine fail.
    os.environ.setdefault("RAY_SERVE_HAPROXY_METRICS_PORT", str(_free_port("0.0.0.0")))
    os.environ.setdefault("RAY_SERVE_HAPROXY_STATS_PORT", str(_free_port("0.0.0.0")))
    # Time that a stopping replica waits for load balancers to notice; behind one, set it to the balancer's interval.
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)

    from serving.deployment import next_track_app

    ray.init(
        address="local",
        num_cpus=config.num_cpus + 1,  # one more for Serve's own actors, so that every replica finds its CPU
        include_dashboard=False,
        configure_logging=True,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        serve.start(http_options={"host": config.host, "port": port}, logging_config={"log_level": "WARNING"})
        app = next_track_app(served, place, token, config, counted)
        serve.run(app, name="fsvae", route_prefix="/")
        yield f"http://{config.host}:{port}"
    finally:
        # Ray reports that it killed its own controller, which is how Serve shuts down.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            serve.shutdown()
            ray.shutdown()


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


def _free_port(host: str) -> int:
    """Return a free port that neither the system hands out by itself (from 32768 on) nor Ray takes.

    Ray opens many ports between this call and the start of HAProxy, so one of those might be taken by then.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise UserError(f"No port from {_PORTS[0]} to {_PORTS[-1]} is free on {host}: set serve.port.")


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"serve.port={port}: {error.strerror} on {host}. Choose another: serve.port=8001, or 0 for a free one."
            ) from error


def ask(url: str, question: dict[str, Any]) -> dict[str, Any]:
    """Post a question to a running endpoint and return its answer."""
    import httpx

    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx.post(f"{url}/v1/next-tracks", json=question, headers=headers, timeout=30)
    response.raise_for_status()
    return dict(response.json())
