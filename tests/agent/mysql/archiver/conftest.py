"""Servers of both products whose logs are shipped: a test of `own_server` runs with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.mysqlsample import fill as fill_mysql
from support.mysqlserver import MySQLServer, mysql_bin, new_server
from support.mysqlyard import MySQLYard

Servers = Callable[..., MariaServer]


@pytest.fixture
def own_mysql(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """A filled server of MySQL that a test may break; skipped where there is none."""
    monkeypatch.setenv("DATABOSUN_MYSQL_BIN", str(mysql_bin()))
    made: list[MySQLServer] = []

    def make(**settings: str) -> MariaServer:
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        server = MySQLServer(settings=given, origin=new_server())
        made.append(server)
        server.init()
        server.start()
        fill_mysql(server)
        return server

    yield make
    for server in made:
        server.remove()


@pytest.fixture(params=["mariadb", "mysql"])
def own_server(request: pytest.FixtureRequest) -> Servers:
    """A filled server that a test may break."""
    made: Servers = request.getfixturevalue("own_maria" if request.param == "mariadb" else "own_mysql")
    return made


@pytest.fixture
def yard_of(workplace: Path) -> Callable[[MariaServer], MariaYard]:
    """A store and pods around a server."""

    def make(server: MariaServer) -> MariaYard:
        kind = MySQLYard if isinstance(server, MySQLServer) else MariaYard
        return kind(workplace, server=server)

    return make
