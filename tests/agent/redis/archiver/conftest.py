"""Archivers of Redis, and yards around servers, ended with their tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.archiving import Pod
from support.pgserver import open_folder
from support.redisserver import Server
from support.redisyard import RedisYard


@pytest.fixture
def yard_of() -> Iterator[Callable[[Server], RedisYard]]:
    """A yard around a server."""
    made: list[RedisYard] = []

    def make(server: Server) -> RedisYard:
        made.append(RedisYard(open_folder("yard"), server=server))
        return made[-1]

    yield make
    for yard in made:
        shutil.rmtree(yard.folder, ignore_errors=True)


@pytest.fixture
def archiver() -> Iterator[Callable[..., Pod]]:
    """A pod for the server of a yard, writing to the yard's store."""
    made: list[Pod] = []

    def make(yard: RedisYard, **more: Any) -> Pod:
        made.append(yard.archiver(**more))
        return made[-1]

    yield make
    for pod in made:
        pod.kill()
