"""Servers of Redis with people, for all tests of a worker, and a store for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agekeys import make_age_key
from support.pgserver import open_folder
from support.rediserasing import RedisForgetter, populate
from support.redisserver import Server
from support.redisyard import RedisYard, both


@pytest.fixture(scope="session")
def people_redis() -> Iterator[dict[str, Server]]:
    """By product; for all tests of a worker."""
    made: dict[str, Server] = {}
    yield made
    for one in made.values():
        one.remove()


@pytest.fixture(params=["redis", "redis6", "valkey"])
def product(request: pytest.FixtureRequest) -> str:
    """Each."""
    found: str = request.param
    return found


@pytest.fixture
def forgetter(
    product: str, people_redis: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisForgetter]:
    """People, and a pod beside them that encrypts."""
    monkeypatch.setenv("DATABOSUN_REDIS_BIN", both())
    server = people_redis.get(product) or people_redis.setdefault(product, Server(product))
    populate(server)
    folder: Path = open_folder("work")
    yield RedisForgetter(RedisYard(folder, key=make_age_key(folder), server=server))
    shutil.rmtree(folder, ignore_errors=True)
