"""Fixtures of the tests of archivers: servers that a test may break, pods for them, keys, a folder to recover in."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agekeys import AgeKey, make_age_key
from support.agentrun import Workplace
from support.archiving import Pod, prepare
from support.pgserver import Server, open_folder
from support.seaweed import Seaweed


@pytest.fixture
def key(tmp_path: Path) -> AgeKey:
    return make_age_key(tmp_path)


@pytest.fixture
def pods(weed: Seaweed, tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    """Pods for servers; ended with the test."""
    made: list[Pod] = []
    numbers = itertools.count()

    def make(server: Server, **more: Any) -> Pod:
        place = Workplace(tmp_path / f"pod{next(numbers)}")
        pod = Pod(place, weed, weed.bucket(), **{"hosts": ["127.0.0.1"], "port": server.port, **more})
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.kill()


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(major: int, *initdb: str, **settings: str) -> Server:
        server = Server(major, settings=settings)
        made.append(server)
        prepare(server, *(initdb or ("--wal-segsize=1",)))
        return server

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def workplace() -> Iterator[Path]:
    folder = open_folder("archive")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
