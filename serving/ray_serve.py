"""Ray Serve on this machine: its settings, its start and its end."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from serving.ports import check_free, free_port, ports_of_its_own


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
    with ports_of_its_own(port) as ports, _serving(host, port, num_cpus, application, _settings() | ports) as url:
        yield url


def _settings() -> dict[str, str]:
    """Return Ray's settings by their names in the environment, where Ray reads them on import."""
    return {
        # with these two a request takes a tenth of the time (docs/decisions.md)
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's workers make way for all other processes (15): on a busy machine the endpoint would hardly answer
        "RAY_worker_niceness": "0",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 s are too few there
        # Serve shuts down by killing its own controller, which Ray reports as a failure, from a separate thread
        "RAY_DEDUP_LOGS_SKIP_REGEX": r"ServeController\.graceful_shutdown",
        # HAProxy's own pages would be on fixed ports, which would make a second endpoint on the machine fail
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port("0.0.0.0")),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port("0.0.0.0")),
        # a client or a replica that says nothing for so long is given up; by default only after an hour, and never
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60",
        # time that a stopping replica waits for load balancers to notice; behind one, set it to the balancer's interval
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Add settings to the environment while the context is open; those that are there stay."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ |= added
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _serving(
    host: str, port: int, num_cpus: int, application: Callable[[], Any], settings: dict[str, str]
) -> Iterator[str]:
    # Ray's processes have the environment of its start: what this one starts later must not take the same ports
    with contextlib.ExitStack() as at_end:
        with _environment(settings):
            import ray
            from ray import serve

            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            at_end.callback(_shut_down)
            ray.init(
                address="local",
                num_cpus=num_cpus + 1,  # one more for Serve's own actors, so that every replica finds its CPU
                include_dashboard=False,
                configure_logging=True,
                log_to_driver=False,
                logging_level="ERROR",
            )
            serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
            serve.run(application(), name="fsvae", route_prefix="/")
        yield f"http://{host}:{port}"


def _shut_down() -> None:
    import ray
    from ray import serve

    # Ray reports that it killed its own controller, which is how Serve shuts down.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        serve.shutdown()
        ray.shutdown()
