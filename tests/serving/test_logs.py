"""The log of the endpoint: one JSON object a line, and nothing about whom it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from endpoints import client_of, memory_bundle
from fastapi.testclient import TestClient

from fsvae.data.dataset import Dataset
from fsvae.online_recommender import OnlineRecommender
from serving.logs import LOG, log, log_to
from serving.stores.sqlite_store import SqliteStore


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    before = LOG.handlers, LOG.propagate, LOG.level
    log_to(tmp_path / "live" / "endpoint.log")
    yield tmp_path / "live" / "endpoint.log"
    for handler in LOG.handlers:
        handler.close()
    LOG.handlers, LOG.propagate, LOG.level = before


def lines(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def test_an_event_is_a_line_with_its_facts(file: Path) -> None:
    log(logging.INFO, "another model is served", version="fsvae/2", before="fsvae/1")
    log(logging.DEBUG, "left out")
    (line,) = lines(file)
    assert line.pop("at").endswith("+00:00") and line.pop("process") > 0
    expected = {"level": "info", "said": "another model is served", "version": "fsvae/2", "before": "fsvae/1"}
    assert line == expected


def test_a_request_that_fails_is_logged_without_its_user(
    file: Path, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    recommender = OnlineRecommender(memory_bundle(small_dataset, tmp_path / "bundle"), came=store.of_user)

    def broken(questions: Any) -> Any:
        raise KeyError(f"nothing is known of {questions[0].user_id}")

    monkeypatch.setattr(recommender, "answers", broken)
    client = TestClient(client_of(recommender, store).app, raise_server_exceptions=False)
    assert client.post("/v1/next-tracks", json={"user_id": "someone"}).status_code == 500
    (line,) = lines(file)
    assert (line["level"], line["route"], line["error"]) == ("error", "next-tracks", "KeyError")
    assert line["raised_in"].startswith("test_logs.py:") and b"someone" not in file.read_bytes()
    store.close()
