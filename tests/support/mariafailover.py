"""A primary and two replicas of MariaDB, each on a loopback address of its own, with the logins of a failover test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.request import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.mysql.failover import FAILOVER
from databosun.engines.mysql.failover.guards import MOVER_GRANTS, PROBE_GRANTS
from support.agentrun import UID, Workplace
from support.failoverjob import RUN, FailoverJob
from support.mariaserver import MariaServer

SCHEMA = "databosun_probe"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PROBE, PROBE_PASSWORD = "probe", "pr0be: it"
MOVER, MOVER_PASSWORD = "mover", "m0ves: it"


@dataclass
class MariaFailoverYard:
    """`nodes`: the primary first."""

    nodes: list[MariaServer] = field(default_factory=list)

    def start(self) -> None:
        """Until the replicas have the logins, too."""
        primary = MariaServer(settings={"log-slave-updates": "ON", "server-id": "1"})
        self.nodes.append(primary)
        primary.init()
        primary.start()
        for number, host in enumerate(HOSTS[1:], start=2):
            settings = {"bind-address": host, "server-id": str(number)}
            self.nodes.append(primary.replica(port=primary.port, **settings))
        primary.sql(f"CREATE USER {PROBE}@'%' IDENTIFIED BY '{PROBE_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(PROBE_GRANTS)} ON `{SCHEMA}`.* TO {PROBE}@'%'")
        primary.sql(f"CREATE USER {MOVER}@'%' IDENTIFIED BY '{MOVER_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(MOVER_GRANTS)} ON *.* TO {MOVER}@'%'")
        for node in self.nodes[1:]:
            primary.wait_for(node)

    def remove(self) -> None:
        """End and delete all."""
        for node in self.nodes:
            node.remove()

    def name(self, number: int) -> str:
        """Of the member."""
        return f"{HOSTS[number]}:{self.nodes[0].port}"

    def named(self, name: str) -> MariaServer:
        """The server of a member."""
        return self.nodes[HOSTS.index(name.rpartition(":")[0])]

    @property
    def database(self) -> DatabaseTarget:
        """As the agent is told."""
        return DatabaseTarget(
            namespace="shop", name="shop", uid=UID, engine=EngineName.MARIADB, hosts=list(HOSTS),
            port=self.nodes[0].port, tls=TLSMode.DISABLE,
        )  # fmt: skip

    @contextmanager
    def provider(self, **more: Any) -> Iterator[FailoverProvider]:
        """Opened."""
        target = Target(self.database, Credentials(PROBE, PROBE_PASSWORD))
        provider = ProviderTarget(provider="MariaDBReplication")
        until = datetime.now(UTC) + timedelta(hours=1)
        site = Site(target, Operator(Credentials(MOVER, MOVER_PASSWORD)), provider, SCHEMA, RUN, until)
        with FAILOVER.open(replace(site, **more), FailoverMode.PLANNED_SWITCHOVER) as opened:
            yield opened

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it."""
        secrets = {
            "database": {"username": PROBE, "password": PROBE_PASSWORD},
            "failover": {"username": MOVER, "password": MOVER_PASSWORD},
        }
        provider = ProviderTarget(provider="MariaDBReplication")
        return FailoverJob(Workplace(folder, secrets=secrets), self.database, provider, mode)

    def read_only(self) -> list[bool]:
        """Of each."""
        return [node.sql("SELECT @@read_only") == [(1,)] for node in self.nodes]

    def leftovers(self) -> list[str]:
        """Schemas of the probe, by node."""
        there = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{SCHEMA}'"
        return [self.name(number) for number, node in enumerate(self.nodes) if node.sql(there)]
