"""The ports of an endpoint on this machine."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fsvae.errors import UserError

_PORTS = range(20_000, 30_000)
_REPLICA_PORTS = range(30_000, 32_700)
"""Ports of the replicas of all endpoints of a machine; the system hands out none of them by itself."""
_OF_ENDPOINT = 100
"""How many of them an endpoint has to itself, the first one to say so."""


@contextmanager
def ports_of_its_own(port: int) -> Iterator[dict[str, str]]:
    """Keep ports for the replicas of an endpoint, and for what answers without one, while the context is open.

    By default all endpoints of a machine use the same ones: that of what answers while no replica does is even open
    twice, and what one's replica leaves when it dies another one's may take. Either gets requests that were meant for
    the other, listens to store among them.

    Args:
        port: port of the endpoint itself.

    Yields:
        Ray Serve's settings that say so, by their names in the environment.

    Raises:
        UserError: other endpoints have all of them.
    """
    for first in _REPLICA_PORTS[::_OF_ENDPOINT]:
        if first <= port < first + _OF_ENDPOINT:
            continue
        with contextlib.ExitStack() as stack:
            kept, *others = (stack.enter_context(socket.socket()) for _ in range(3))
            try:
                # of an endpoint that was killed the first one is free at once, but what it has started may live on
                for place, one in enumerate((kept, *others)):
                    one.bind(("127.0.0.1", first + place))
            except OSError:
                continue
            for one in others:
                one.close()
            yield {
                "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(first + 1),
                "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first + 2),
                "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + _OF_ENDPOINT - 1),
            }
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
