"""A real S3 server for all tests of a worker, started on first use; archivers of any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.archiving import Pod
from support.engineyard import EngineYard
from support.seaweed import Seaweed, seaweed


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """SeaweedFS; every test makes buckets of its own."""
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        yield server


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
