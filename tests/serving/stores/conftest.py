"""A redis-server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a server that all tests share; each keeps to a prefix of its own and leaves it running."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a server of one test, which may stop and kill it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
