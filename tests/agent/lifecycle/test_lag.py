"""Replicas of MariaDB that fall behind are waited for where the Database lists them, and else said not to be seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from databosun.agent.lifecycle.pacemaker import Pacemaker
from databosun.api.lifecycleresult import RuleState
from support.agentrun import Workplace
from support.mariaserver import MariaServer
from support.mysqllifecycling import MariaKeeper, prepare
from support.rulekeeping import result_of, rule
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[MariaServer, MariaServer]]:
    """A primary and its replica, at two addresses and one port."""
    primary, replica = MariaServer(), None
    try:
        primary.init()
        primary.start()
        replica = primary.replica(port=primary.port, **{"bind-address": "127.0.0.2"})
        yield primary, replica
    finally:
        for server in (replica, primary):
            if server is not None:
                server.remove()


@pytest.fixture
def keeper(servers: tuple[MariaServer, MariaServer], tmp_path: Path) -> MariaKeeper:
    """Orders on both."""
    primary, replica = servers
    made = MariaKeeper(primary, Workplace(tmp_path / "pod"))
    prepare(primary, made.numbers(3000))
    primary.sql("GRANT SLAVE MONITOR ON *.* TO keeper@'%'")
    primary.wait_for(replica)
    return made


def lag(replica: MariaServer) -> int:
    """As the server says it."""
    connection = replica.connect(cursorclass=DictCursor)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW ALL SLAVES STATUS")
            return int(dict(cursor.fetchall()[0])["Seconds_Behind_Master"] or 0)
    finally:
        connection.close()


def test_a_replica_that_falls_behind_is_waited_for(
    keeper: MariaKeeper, servers: tuple[MariaServer, MariaServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.hosts = ["127.0.0.2", "127.0.0.1"]
    approved, before, (_, replica) = keeper.look(rule()).plan_hash, keeper.ids(), servers
    waits, wait, ran = threading.Event(), Pacemaker.wait, []
    holder = replica.connect()

    def waiting(self: Pacemaker, seconds: float) -> None:
        waits.set()
        wait(self, seconds)

    def enforce() -> None:
        ran.append(keeper.enforce(rule(), approved=approved, throttle={"max_replica_lag_seconds": 1.0}))

    try:
        with holder.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
        keeper.sql("UPDATE orders SET customer = -1 WHERE id = 1")
        eventually("the lag is seen", lambda: lag(replica) > 1)
        monkeypatch.setattr(Pacemaker, "wait", waiting)
        agent = threading.Thread(target=enforce)
        agent.start()
        assert waits.wait(300)
        assert keeper.ids() == before
    finally:
        holder.close()
    agent.join()
    outcome: Any = result_of(ran[0]).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    assert outcome.throttled_seconds > 0
    assert result_of(ran[0]).notes == []


def test_a_replica_that_nobody_named_is_said_not_to_be_heeded(keeper: MariaKeeper) -> None:
    ran = result_of(keeper.enforce(rule()))
    assert ran.outcomes[0].state is RuleState.COMPLETED
    assert ran.notes == [
        "the lag of 1 replicas was not seen and not heeded: name them in spec.connection.hosts, and grant SLAVE MONITOR"
        " to the login"
    ]
