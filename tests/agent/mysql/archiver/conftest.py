"""Archivers of MariaDB, ended with their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.archiving import Pod
from support.mariayard import MariaYard


@pytest.fixture
def archiver() -> Iterator[Callable[..., Pod]]:
    """A pod for the server of a yard, writing to the yard's store."""
    made: list[Pod] = []

    def make(yard: MariaYard, **more: Any) -> Pod:
        made.append(yard.archiver(**more))
        return made[-1]

    yield make
    for pod in made:
        pod.kill()
