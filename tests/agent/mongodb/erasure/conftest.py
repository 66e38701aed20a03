"""A stand-in of mongod with people, for all tests of a worker, and a store for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from support.agekeys import make_age_key
from support.mongoerasing import MongoForgetter, populate
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard
from support.pgserver import open_folder


@pytest.fixture(scope="session")
def people_mongo() -> Iterator[MongoServer]:
    """For all tests of a worker; it keeps an oplog."""
    made = MongoServer()
    yield made
    made.remove()


@pytest.fixture
def forgetter(people_mongo: MongoServer) -> Iterator[MongoForgetter]:
    """People, and a pod beside them that encrypts."""
    populate(people_mongo)
    folder = open_folder("work")
    yield MongoForgetter(MongoYard(folder, key=make_age_key(folder), server=people_mongo))
    shutil.rmtree(folder, ignore_errors=True)
