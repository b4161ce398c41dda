"""What the endpoint counts, for Prometheus: of all replicas of the machine, whichever of them is asked."""

from __future__ import annotations

import math
import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which replicas share what they count (prometheus_client)."""
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of a replica."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._registry = CollectorRegistry()
        self._version = ""
        self._told: set[tuple[str, str, str]] = set()
        """Versions, figures and windows whose accuracy was told."""
        to: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("fsvae_requests", "Requests", ["route", "status"], **to)
        self._seconds = Histogram("fsvae_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, **to)
        self._stage = Histogram(
            "fsvae_stage_seconds", "Time of a batch in each stage: wait, model", ["stage"], buckets=_SECONDS, **to
        )
        self._sizes = Histogram("fsvae_batch_size", "Requests answered together", buckets=_SIZES, **to)
        self._waiting = Gauge("fsvae_waiting", "Requests that wait", multiprocess_mode="livesum", **to)
        self._states = Gauge("fsvae_user_states", "Users whose state is kept", multiprocess_mode="livesum", **to)
        self._reads = Counter("fsvae_user_reads", "Reads of a user's state, by whether it was kept", ["kept"], **to)
        self._events = Counter("fsvae_events", "Events that were stored", ["kind"], **to)
        self._scored = Counter("fsvae_scored", "Posted listens by whether their rank was taken", ["taken"], **to)
        self._swaps = Counter("fsvae_swaps", "Exchanges of the model, by outcome", ["outcome"], **to)
        self._model = Gauge(
            "fsvae_model", "1 for the version that answers", ["version"], multiprocess_mode="livemax", **to
        )
        self._age = Gauge(
            "fsvae_model_age_seconds",
            "Time since the last listen of the model's dataset",
            multiprocess_mode="livemax",
            **to,
        )
        self._accuracy = Gauge(
            "fsvae_online_accuracy",
            "How well the tracks that users then played were ranked",
            ["version", "figure", "window"],
            multiprocess_mode="livemostrecent",
            **to,
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, size: int, waited: float, took: float) -> None:
        """Count a batch: its requests, how long the first of them waited, and how long the model took [s]."""
        self._sizes.observe(size)
        self._stage.labels("wait").observe(waited)
        self._stage.labels("model").observe(took)

    def read(self, kept: int, made: int) -> None:
        """Count reads of users' states: of kept ones, and of those made anew."""
        self._reads.labels("yes").inc(kept)
        self._reads.labels("no").inc(made)

    def stored(self, kind: str) -> None:
        """Count an event that was stored."""
        self._events.labels(kind).inc()

    def scored(self, taken: bool) -> None:
        """Count a posted listen."""
        self._scored.labels("yes" if taken else "no").inc()

    def swapped(self, outcome: str) -> None:
        """Count an exchange of the model."""
        self._swaps.labels(outcome).inc()

    def now(self, version: str, age_s: float, waiting: int, states: int) -> None:
        """Take the present state: version, age of the dataset [s], requests that wait, users kept."""
        if self._version not in ("", version):
            self._model.labels(self._version).set(0)
        self._version = version
        self._model.labels(version).set(1)
        self._age.set(age_s)
        self._waiting.set(waiting)
        self._states.set(states)

    def accuracy(self, window: str, found: dict[str, dict[str, float]]) -> None:
        """Take how well each version did over a window; NaN for those that did nothing any more."""
        told = {(version, figure): value for version, figures in found.items() for figure, value in figures.items()}
        self._told |= {(version, figure, window) for version, figure in told}
        for version, figure, of_window in self._told:
            if of_window == window:
                self._accuracy.labels(version, figure, window).set(told.get((version, figure), math.nan))

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        if SHARED_FOLDER not in os.environ:
            return bytes(generate_latest(self._registry))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))
