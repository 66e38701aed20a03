"""What keeps going for minutes: the long form of tests that elsewhere take seconds. `make soak` runs them.

SOAK_MINUTES=10 SOAK_AWAY_MINUTES=60 SOAK_KILLS=1000 SOAK_SERVER_KILLS=50 SOAK_POLICIES=100 hack/test soak
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agekeys import AgeKey, make_age_key
from support.agentrun import Workplace
from support.archiving import Pod, prepare
from support.length import Length, full_length
from support.pgserver import Server, open_folder
from support.seaweed import Seaweed, seaweed


@pytest.fixture(scope="session")
def length() -> Length:
    return full_length()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A store for all of them."""
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def key(tmp_path: Path) -> AgeKey:
    return make_age_key(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    """PostgreSQL 18 with the table that is written to."""
    made = Server(18)
    prepare(made, "--wal-segsize=16")
    made.sql("CREATE TABLE t (i int PRIMARY KEY, v text)")
    yield made
    made.remove()


@pytest.fixture
def pods(weed: Seaweed, tmp_path: Path, key: AgeKey) -> Iterator[Callable[..., Pod]]:
    """Archivers for a server; ended with the test."""
    made: list[Pod] = []

    def make(server: Server, **more: Any) -> Pod:
        place = Workplace(tmp_path / f"pod{len(made)}")
        pod = Pod(place, weed, weed.bucket(), hosts=["127.0.0.1"], port=server.port, key=key, **more)
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.kill()


@pytest.fixture
def workplace() -> Iterator[Path]:
    folder = open_folder("soak")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
