"""Clients behind a real PgBouncer in transaction mode: a session goes on while its writes go to another server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from databosun.api.failoverprobe import ErrorName, PathKind, ProbePath
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.ledger import Fate, History
from databosun.domain.ledgerjudge import Span, judge
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import ProbeError
from databosun.engines.postgresql.failover.probe import Clients, Session, Table
from support.pgbouncer import HOST, PgBouncer
from support.pgserver import Server
from support.waiting import eventually

pytestmark = pytest.mark.servers

USER, PASSWORD = "writer", "wr1tes"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """Two, each with a table of the probe of its own: so it is known who took what."""
    made = [Server(16), Server(16)]
    try:
        for one in made:
            one.init()
            one.configure()
            one.start()
            one.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE postgres TO {USER}")
        yield made
    finally:
        for one in made:
            one.remove()


@pytest.fixture
def bouncer(servers: list[Server]) -> Iterator[PgBouncer]:
    made = PgBouncer(USER, PASSWORD)
    try:
        made.start(HOST, servers[0].port)
        yield made
    finally:
        made.remove()


def clients(servers: list[Server], bouncer: PgBouncer) -> Clients:
    database = DatabaseTarget(
        namespace="n", name="n", uid="u", engine=EngineName.POSTGRESQL, hosts=[HOST], port=bouncer.port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip
    made = Clients(Target(database, Credentials(USER, PASSWORD)), Table("databosun_probe_run"))
    for number, server in enumerate(servers):
        made.know(f"n{number}", HOST, server.port)
        server.sql(
            "DROP SCHEMA IF EXISTS databosun_probe_run CASCADE; CREATE SCHEMA databosun_probe_run;"
            " CREATE TABLE databosun_probe_run.writes (client int, seq int, PRIMARY KEY (client, seq));"
            f" ALTER SCHEMA databosun_probe_run OWNER TO {USER}; ALTER TABLE databosun_probe_run.writes OWNER TO {USER}"
        )
    return made


def path(bouncer: PgBouncer) -> ProbePath:
    return ProbePath(name="pooler", host=HOST, port=bouncer.port, kind=PathKind.POOLER)


def held(server: Server) -> set[int]:
    return {row[0] for row in server.sql("SELECT seq FROM databosun_probe_run.writes WHERE client = 0")}


def test_each_write_behind_a_pooler_names_who_took_it_so_a_switch_is_no_split_brain(
    servers: list[Server], bouncer: PgBouncer
) -> None:
    made, history = clients(servers, bouncer), History()
    session, other = made.connect(path(bouncer), 0, PATIENCE), made.connect(None, 1, PATIENCE)
    told = dict[int, str | None]()

    def write(one: Session, name: str) -> None:
        client, at = history.client(name), float(len(history))
        seq = client.send(at)
        one.write(seq)
        client.end(at + 0.5, Fate.ACKNOWLEDGED, node=one.node)
        if name == "pooler":
            told[seq] = one.node

    for _ in range(5):
        write(session, "pooler")
    bouncer.point(HOST, servers[1].port)

    def moved() -> bool:
        write(session, "pooler")
        return bool(held(servers[1]))

    eventually("its writes go to the other server", moved)
    for _ in range(5):  # one after the other, as clients that were there all the time and new ones do
        write(session, "pooler")
        write(other, "service")
    ordered, until = 5.0, float(len(history))
    taken = {number: name for name, server in zip(("n0", "n1"), servers, strict=True) for number in held(server)}
    assert {seq: taken[seq] for seq in told} == told
    assert set(told.values()) == {"n0", "n1"}
    assert judge(history, [], Span(ordered, until, "n1")).split_brain is None
    session.close()
    other.close()


def test_a_pooler_whose_server_is_gone_is_told_from_a_server_that_is(servers: list[Server], bouncer: PgBouncer) -> None:
    made = clients(servers, bouncer)
    session = made.connect(path(bouncer), 0, PATIENCE)
    session.write(0)
    session.close()
    bouncer.point(HOST, 1)  # nobody listens there

    def refused() -> ErrorName | None:
        try:
            made.connect(path(bouncer), 0, PATIENCE).close()
        except ProbeError as told:
            return told.name
        return None

    eventually("it says that there is no server behind it", lambda: refused() is ErrorName.NO_SERVER_BEHIND)
