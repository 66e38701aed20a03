"""Replicated databases that fail over, each a test's own: a test leaves another primary behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from databosun.agent.failovers import clients, drive
from databosun.agent.failovers.clients import Crowd
from support.failoveragent import SHARE
from support.failoverjob import LONG, once_each_has_written
from support.mariafailover import MariaFailoverYard
from support.mariaserver import MariaServer
from support.mysqlfailover import MySQLFailoverYard
from support.mysqlserver import mysql_bin
from support.sentinelyard import SentinelYard


@pytest.fixture
def sentinel() -> Iterator[SentinelYard]:
    """Three nodes of Redis, three Sentinels."""
    yard = SentinelYard()
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


@pytest.fixture(scope="session")
def empty() -> Iterator[MariaServer]:
    """A MariaDB that was never started."""
    server = MariaServer()
    try:
        server.init()
        yield server
    finally:
        server.remove()


@pytest.fixture
def maria(empty: MariaServer) -> Iterator[MariaFailoverYard]:
    """A primary of MariaDB, two replicas."""
    yard = MariaFailoverYard(empty)
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


@pytest.fixture(scope="session")
def shared_mysql() -> Iterator[MySQLFailoverYard]:
    """Three servers of MySQL, of all tests."""
    mysql_bin()  # skipped where there is none
    yard = MySQLFailoverYard()
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


@pytest.fixture
def mysql(shared_mysql: MySQLFailoverYard) -> MySQLFailoverYard:
    """A primary of MySQL, two replicas, as new."""
    shared_mysql.reset()
    return shared_mysql


@pytest.fixture(params=["maria", "mysql"])
def replicated(request: pytest.FixtureRequest) -> MariaFailoverYard:
    """Of each product: what moves them is the same code."""
    yard: MariaFailoverYard = request.getfixturevalue(request.param)
    return yard


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of what proves more the longer it is, and more of what a busy machine has less of."""
    monkeypatch.setattr(drive, "BASELINE_SECONDS", 2.0)
    monkeypatch.setattr(drive, "AFTER_SECONDS", 2.0)
    monkeypatch.setattr(drive, "GUARDS_SECONDS", LONG)
    monkeypatch.setattr(clients, "MOST_SHARE", SHARE)


@pytest.fixture
def each_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ends before each client was served by who was promoted."""
    monkeypatch.setattr(drive.Drive, "_verify", once_each_has_written)


@pytest.fixture
def crowds(monkeypatch: pytest.MonkeyPatch) -> list[Crowd]:
    """The clients of each move, the newest last."""
    started: list[Crowd] = []
    start = Crowd.start

    def noted(crowd: Crowd, per_second: float) -> None:
        started.append(crowd)
        start(crowd, per_second)

    monkeypatch.setattr(Crowd, "start", noted)
    return started
