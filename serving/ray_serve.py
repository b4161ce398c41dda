"""Ray Serve on this machine: its settings, its start and its end."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fsvae.errors import UserError

_PORTS = range(20_000, 30_000)
_REPLICA_PORTS = range(30_000, 32_700)
"""Ports of the replicas of all endpoints of a machine; the system hands out none of them by itself."""
_OF_ENDPOINT = 100
"""How many of them an endpoint has to itself, the first one to say so."""
_PORT_SETTINGS = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT",
)


@contextmanager
def on_ray(host: str, port: int, num_cpus: int, application: Callable[[], Any]) -> Iterator[str]:
    """Run an application on Ray Serve while the context is open; yields its URL once it answers.

    Args:
        host: address to listen on.
        port: port to listen on; 0: a free one.
        num_cpus: number of CPUs for replicas.
        application: function that returns the application, after Ray is imported.

    Raises:
        UserError: the port is taken, or none is free.
    """
    port = port or free_port(host)
    check_free(host, port)
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
    os.environ.setdefault("RAY_SERVE_HAPROXY_METRICS_PORT", str(free_port("0.0.0.0")))
    os.environ.setdefault("RAY_SERVE_HAPROXY_STATS_PORT", str(free_port("0.0.0.0")))
    # A client or a replica that says nothing for so long is given up; by default only after an hour, and never.
    os.environ.setdefault("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "60")
    os.environ.setdefault("RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S", "60")
    # Time that a stopping replica waits for load balancers to notice; behind one, set it to the balancer's interval.
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    with _ports_of_its_own(), _serving(host, port, num_cpus, application) as url:
        yield url


@contextmanager
def _serving(host: str, port: int, num_cpus: int, application: Callable[[], Any]) -> Iterator[str]:
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)

    ray.init(
        address="local",
        num_cpus=num_cpus + 1,  # one more for Serve's own actors, so that every replica finds its CPU
        include_dashboard=False,
        configure_logging=True,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
        serve.run(application(), name="fsvae", route_prefix="/")
        yield f"http://{host}:{port}"
    finally:
        # Ray reports that it killed its own controller, which is how Serve shuts down.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            serve.shutdown()
            ray.shutdown()


@contextmanager
def _ports_of_its_own() -> Iterator[None]:
    """Keep ports for the replicas of this endpoint, and for what answers without one, while the context is open.

    By default all endpoints of a machine use the same ones: that of what answers while no replica does is even open
    twice, and what one's replica leaves when it dies another one's may take. Either gets requests that were meant for
    the other, listens to store among them.

    Raises:
        UserError: other endpoints have all of them.
    """
    if any(name in os.environ for name in _PORT_SETTINGS):  # the user's own
        yield
        return
    for first in _REPLICA_PORTS[::_OF_ENDPOINT]:
        with socket.socket() as kept:
            try:
                kept.bind(("127.0.0.1", first))
            except OSError:
                continue
            ports = first + 1, first + 2, first + _OF_ENDPOINT - 1
            os.environ |= {name: str(port) for name, port in zip(_PORT_SETTINGS, ports, strict=True)}
            try:
                yield
            finally:
                for name in _PORT_SETTINGS:
                    del os.environ[name]
            return
    many = len(_REPLICA_PORTS[::_OF_ENDPOINT])
    raise UserError(f"{many} endpoints run on this machine, which is all that it has ports for: end one of them.")


def free_port(host: str) -> int:
    """Return a free port that neither the system hands out by itself (from 32768 on) nor Ray takes.

    Ray opens many ports between this call and the start of HAProxy, so one of those might be taken by then.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise UserError(f"No port from {_PORTS[0]} to {_PORTS[-1]} is free on {host}: set serve.port.")


def check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"serve.port={port}: {error.strerror} on {host}. Choose another: serve.port=8001, or 0 for a free one."
            ) from error
