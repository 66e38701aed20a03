"""Yards around servers of Redis, removed with their tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

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
