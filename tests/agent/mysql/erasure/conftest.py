"""Servers of MariaDB and MySQL with people, for all tests of a worker, and a store for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from support.agekeys import make_age_key
from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.mysqlsample import numbers
from support.mysqlserver import MySQLServer, mysql_bin, new_server
from support.mysqlyard import MySQLYard
from support.pgserver import open_folder
from support.sqlerasing import SqlForgetter, populate


@pytest.fixture(scope="session")
def people_maria() -> Iterator[MariaServer]:
    """For all tests of a worker."""
    server = MariaServer()
    server.init()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def people_mysql() -> Iterator[MySQLServer]:
    """For all tests of a worker; with what remembers statements."""
    server = MySQLServer(origin=new_server(), settings={"performance-schema": "ON"})
    server.init()
    server.start()
    yield server
    server.remove()


def _forgetter(yard: Any, numbered: Any) -> SqlForgetter:
    populate(yard.its, numbered)
    return SqlForgetter(yard)


@pytest.fixture
def mariadb(people_maria: MariaServer) -> Iterator[SqlForgetter]:
    """People on MariaDB."""
    folder = open_folder("work")
    yard = MariaYard(folder, key=make_age_key(folder), server=people_maria)
    yield _forgetter(yard, lambda last: f"seq_1_to_{last} AS numbers")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mysql(people_mysql: MySQLServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlForgetter]:
    """People on MySQL."""
    monkeypatch.setenv("DATABOSUN_MYSQL_BIN", str(mysql_bin()))
    folder = open_folder("work")
    yard = MySQLYard(folder, key=make_age_key(folder), server=people_mysql)
    yield _forgetter(yard, numbers)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["mariadb", "mysql"])
def forgetter(request: pytest.FixtureRequest) -> SqlForgetter:
    """Of each engine."""
    found: SqlForgetter = request.getfixturevalue(request.param)
    return found
