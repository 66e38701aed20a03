"""What keeps going for minutes: the long form of tests that elsewhere take seconds. `make soak` runs them.

SOAK_MINUTES=10 SOAK_KILLS=1000 SOAK_SERVER_KILLS=50 SOAK_POLICIES=100 hack/test soak
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.agekeys import AgeKey, make_age_key
from support.agentrun import Workplace
from support.archiving import Pod, prepare
from support.pgserver import Server, open_folder
from support.seaweed import Seaweed, seaweed


@dataclass(frozen=True, slots=True)
class Length:
    """How long, from the environment."""

    minutes: float
    kills: int
    server_kills: int
    policies: int


@pytest.fixture(scope="session")
def length() -> Length:
    return Length(
        minutes=float(os.environ.get("SOAK_MINUTES", "10")),
        kills=int(os.environ.get("SOAK_KILLS", "1000")),
        server_kills=int(os.environ.get("SOAK_SERVER_KILLS", "50")),
        policies=int(os.environ.get("SOAK_POLICIES", "100")),
    )


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[..., None]:
    """Print figures as one line of JSON, for docs/benchmarks.md."""

    def line(**figures: Any) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: {json.dumps(figures)}")

    return line


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
