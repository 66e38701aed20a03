"""What tests of a worker share, made on first use: a real S3 server, PostgreSQL for rules; archivers of any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.archiving import Pod
from support.engineyard import EngineYard
from support.pgserver import Server
from support.seaweed import Seaweed, seaweed


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """SeaweedFS; every test makes buckets of its own."""
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture(scope="session")
def rule_servers() -> Iterator[Callable[[int], Server]]:
    """Servers by major, made on first use."""
    made: dict[int, Server] = {}

    def get(major: int) -> Server:
        if major not in made:
            server = made[major] = Server(major, settings={"wal_level": "replica", "deadlock_timeout": "200ms"})
            server.init()
            server.configure()
            server.start()
        return made[major]

    yield get
    for server in made.values():
        server.remove()


@pytest.fixture
def archiver() -> Iterator[Callable[..., Pod]]:
    """A pod for the server of a yard, writing to the yard's store; ended with the test."""
    made: list[Pod] = []

    def make(yard: EngineYard, **more: Any) -> Pod:
        made.append(yard.archiver(**more))
        return made[-1]

    yield make
    for pod in made:
        pod.kill()
