"""Yards around servers of MongoDB, removed with their tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from support.mongoserver import MongoServer
from support.mongoyard import MongoYard
from support.pgserver import open_folder


@pytest.fixture
def yard_of() -> Iterator[Callable[[MongoServer], MongoYard]]:
    """A yard around a server."""
    made: list[MongoYard] = []

    def make(server: MongoServer) -> MongoYard:
        made.append(MongoYard(open_folder("yard"), server=server))
        return made[-1]

    yield make
    for yard in made:
        shutil.rmtree(yard.folder, ignore_errors=True)
