"""A yard of each engine: add yours to `MAKERS`, and the whole suite asks it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.engineyard import EngineYard
from support.mariasample import fill as fill_mariadb
from support.mariaserver import MariaServer
from support.mariayard import MariaFilesYard, MariaYard
from support.mongosample import fill as fill_mongodb
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard
from support.mysqlsample import fill as fill_mysql
from support.mysqlserver import MySQLServer, mysql_bin, new_server
from support.mysqlyard import MySQLYard
from support.pgsample import fill as fill_postgresql
from support.pgserver import Server, bin_dir, open_folder
from support.pgyard import PostgreSQLYard
from support.redisserver import Server as RedisServer
from support.redisserver import fill as fill_redis
from support.redisyard import RedisYard, both

PG_MAJOR = 18


def make_postgresql(folder: Path, patch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of the newest major."""
    server = Server(PG_MAJOR)
    request.addfinalizer(server.remove)
    patch.setenv("DATABOSUN_POSTGRESQL_BIN", str(bin_dir(PG_MAJOR)))
    server.init("--wal-segsize=4")
    server.configure(max_slot_wal_keep_size="'1GB'")
    server.start()
    fill_postgresql(server)
    return PostgreSQLYard(folder, server=server)


def make_mariadb(folder: Path, _: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of Debian's series."""
    return MariaYard(folder, server=_mariadb(request))


def make_mariadb_files(folder: Path, _: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """The same, by physical backups."""
    return MariaFilesYard(folder, server=_mariadb(request))


def _mariadb(request: pytest.FixtureRequest) -> MariaServer:
    server = MariaServer()
    request.addfinalizer(server.remove)
    server.init()
    server.start()
    fill_mariadb(server)
    return server


def make_mysql(folder: Path, patch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of what Debian's unstable suite has; skipped where it has none."""
    patch.setenv("DATABOSUN_MYSQL_BIN", str(mysql_bin()))
    server = MySQLServer(origin=new_server())
    request.addfinalizer(server.remove)
    server.init()
    server.start()
    fill_mysql(server)
    return MySQLYard(folder, server=server)


def make_mongodb(folder: Path, _: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of the stand-in, with an oplog."""
    server = MongoServer()
    request.addfinalizer(server.remove)
    fill_mongodb(server)
    return MongoYard(folder, server=server)


def make_redis(folder: Path, patch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of Debian's Redis."""
    return _redis("redis", folder, patch, request)


def make_valkey(folder: Path, patch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    """A new server of the pinned Valkey."""
    return _redis("valkey", folder, patch, request)


def _redis(product: str, folder: Path, patch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> EngineYard:
    server = RedisServer(product)
    request.addfinalizer(server.remove)
    patch.setenv("DATABOSUN_REDIS_BIN", both())
    fill_redis(server)
    return RedisYard(folder, server=server)


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch, pytest.FixtureRequest], EngineYard]] = {
    "postgresql": make_postgresql,
    "mariadb": make_mariadb,
    "mariadb-files": make_mariadb_files,
    "mysql": make_mysql,
    "mongodb": make_mongodb,
    "redis": make_redis,
    "valkey": make_valkey,
}


@pytest.fixture(params=MAKERS)
def yard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineYard]:
    """One engine's server, filled, with a store; a test may do with both as it likes."""
    folder = open_folder("yard")
    yield MAKERS[request.param](folder, monkeypatch, request)
    shutil.rmtree(folder, ignore_errors=True)
