"""What writers of a failover test say to a server, said to a real one: FerretDB, which has no replica set to move."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.mongodb.conftest import target_of
from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import UserFault
from databosun.domain.ledger import Fate
from databosun.engines.failover import FailoverFault, Operator, ProbeError, Site
from databosun.engines.mongodb.failover import FAILOVER
from databosun.engines.mongodb.failover.members import Members
from databosun.engines.mongodb.failover.probe import Clients, Space
from support.mongoserver import MongoServer

pytestmark = pytest.mark.servers


def test_documents_are_written_counted_and_removed(server: MongoServer) -> None:
    members, space = Members(target_of(server)), Space("databosun_probe", "writes_1")
    place = ("127.0.0.1", server.port)
    with members.open(place, "making", silent=30) as client:
        space.make(client)
        space.make(client)
    session = Clients(members, space).connect(ProbePath(name="direct", host=place[0], port=place[1]), 3, 5.0)
    for seq in (0, 1, 2, 400):
        session.write(seq)
    session.read()
    assert session.takes_writes()
    with pytest.raises(ProbeError) as twice:
        session.write(400)
    assert (twice.value.fate, twice.value.broken) == (Fate.FAILED, False)
    session.close()
    with members.open(place, "reading", silent=30) as client:
        assert {number: list(rows) for number, rows in space.rows(client, [3]).items()} == {3: [0, 1, 2, 400]}
        space.remove(client)
        space.remove(client)
        assert client["databosun_probe"].list_collection_names() == []


def test_a_server_without_a_replica_set_is_refused(server: MongoServer) -> None:
    target = target_of(server)
    given: dict[str, Any] = {"provider": ProviderTarget(provider="ReplicaSet"), "table": "p", "run": "1"}
    site = Site(probe=target, operator=Operator(target.credentials), until=datetime.now(UTC), **given)
    with FAILOVER.open(site, FailoverMode.PLANNED_SWITCHOVER) as provider, pytest.raises(UserFault) as fault:
        provider.topology()
    assert fault.value.reason == FailoverFault.PROVIDER_UNSUPPORTED
