"""A server of every engine whose rows rules are about, with a fresh database and a pod for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import lifecycling, mysqllifecycling
from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.mariaserver import MariaServer
from support.mysqllifecycling import MariaKeeper, MySQLKeeper
from support.mysqlserver import MySQLServer, new_server
from support.pgserver import Server
from support.rulekeeping import Keeper

ROWS = 3000


@pytest.fixture(scope="session")
def maria_server() -> Iterator[MariaServer]:
    """For all tests of a worker."""
    server = MariaServer()
    server.init()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySQLServer]:
    """For all tests of a worker."""
    server = MySQLServer(origin=new_server())
    server.init()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def maria(maria_server: MariaServer, tmp_path: Path) -> MariaKeeper:
    """Orders on MariaDB, a pod that encrypts."""
    keeper = MariaKeeper(maria_server, Workplace(tmp_path / "pod"), make_age_key(tmp_path))
    mysqllifecycling.prepare(maria_server, keeper.numbers(ROWS))
    return keeper


@pytest.fixture
def mysql(mysql_server: MySQLServer, tmp_path: Path) -> MySQLKeeper:
    """Orders on MySQL, a pod that encrypts."""
    keeper = MySQLKeeper(mysql_server, Workplace(tmp_path / "pod"), make_age_key(tmp_path))
    mysqllifecycling.prepare(mysql_server, keeper.numbers(ROWS))
    return keeper


@pytest.fixture
def postgresql(rule_servers: Callable[[int], Server], tmp_path: Path) -> lifecycling.Keeper:
    """Orders on the newest PostgreSQL, a pod that encrypts."""
    lifecycling.prepare(rule_servers(18), ROWS)
    return lifecycling.make_keeper(rule_servers(18), tmp_path / "pod", make_age_key(tmp_path))


@pytest.fixture(params=["postgresql", "maria", "mysql"])
def keeper(request: pytest.FixtureRequest) -> Keeper[Any]:
    """Of each engine."""
    found: Keeper[Any] = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["maria", "mysql"])
def either(request: pytest.FixtureRequest) -> MariaKeeper:
    """What MariaDB and MySQL share."""
    found: MariaKeeper = request.getfixturevalue(request.param)
    return found
