"""A primary and two replicas of MariaDB, each on a loopback address of its own, with the logins of a failover test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from databosun.api.failover import FailoverMode, FailoverPlan, ProviderTarget
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.mysql.failover.base import SqlProvider
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.guards import PROBE_GRANTS
from databosun.engines.mysql.failover.words import Words, words_of
from databosun.engines.registry import load_failover
from support.agentrun import UID, Workplace
from support.failoverjob import RUN, FailoverJob
from support.mariaserver import MariaServer
from support.waiting import eventually

SCHEMA = "databosun_probe"
BY_REPLICATION = ProviderTarget(provider="MariaDBReplication")
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PROBE, PROBE_PASSWORD = "probe", "pr0be: it"
MOVER, MOVER_PASSWORD = "mover", "m0ves: it"


@dataclass
class MariaFailoverYard:
    """`nodes`: the primary first. `origin`: what their data directories are copied from. `stopped`: what a session of
    the writers is at while writes are stopped."""

    engine: ClassVar[EngineName] = EngineName.MARIADB
    by_replication: ClassVar[ProviderTarget] = BY_REPLICATION
    stopped: ClassVar[str] = "STATE LIKE 'Waiting for backup lock'"

    origin: MariaServer | None = None
    nodes: list[MariaServer] = field(default_factory=list)

    def start(self) -> None:
        """Until the replicas have the logins, too."""
        # So that what a killed server had committed is there when it is back, in its tables as in its log.
        settings = {"log-slave-updates": "ON", "server-id": "1", "innodb-flush-log-at-trx-commit": "2"}
        primary = MariaServer(settings=settings, origin=self.origin)
        self.nodes.append(primary)
        primary.init()
        primary.start()
        for number, host in enumerate(HOSTS[1:], start=2):
            settings = {"bind-address": host, "server-id": str(number)}
            self.nodes.append(primary.replica(port=primary.port, **settings))
        self.make_logins()

    def make_logins(self) -> None:
        """Until the replicas have them, too."""
        primary = self.nodes[0]
        primary.sql(f"CREATE USER {PROBE}@'%' IDENTIFIED BY '{PROBE_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(PROBE_GRANTS)} ON `{SCHEMA}`.* TO {PROBE}@'%'")
        primary.sql(f"CREATE USER {MOVER}@'%' IDENTIFIED BY '{MOVER_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(self.words.mover)} ON *.* TO {MOVER}@'%'")
        for node in self.nodes[1:]:
            primary.wait_for(node)

    @property
    def words(self) -> Words:
        """How the servers are spoken to."""
        return words_of(self.engine)

    def origin_of(self, number: int) -> str:
        """What its own transactions begin with."""
        return f"0-{self.nodes[number].sql('SELECT @@server_id')[0][0]}-"

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
            namespace="shop", name="shop", uid=UID, engine=self.engine, hosts=list(HOSTS),
            port=self.nodes[0].port, tls=TLSMode.DISABLE,
        )  # fmt: skip

    @contextmanager
    def provider(self, **more: Any) -> Iterator[FailoverProvider]:
        """Opened."""
        target = Target(self.database, Credentials(PROBE, PROBE_PASSWORD))
        provider = self.by_replication
        until = datetime.now(UTC) + timedelta(hours=1)
        site = Site(target, Operator(Credentials(MOVER, MOVER_PASSWORD)), provider, SCHEMA, RUN, until)
        with load_failover(self.engine).open(replace(site, **more), FailoverMode.PLANNED_SWITCHOVER) as opened:
            yield opened

    def job(
        self,
        folder: Path,
        mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER,
        provider: ProviderTarget | None = None,
        **secret: str,
    ) -> FailoverJob:
        """A test of it. `secret`: what else is in the Secret of who moves the primary."""
        secrets = {
            "database": {"username": PROBE, "password": PROBE_PASSWORD},
            "failover": {"username": MOVER, "password": MOVER_PASSWORD, **secret},
        }
        return FailoverJob(Workplace(folder, secrets=secrets), self.database, provider or self.by_replication, mode)

    def demand_two(self) -> None:
        """A commit is acknowledged once a replica has it, too (semi-synchronous), until the last replica leaves: one
        that has none must not wait for any. A primary that was killed lets go of commits that none of them has once it
        is back."""
        for node in self.nodes[1:]:
            node.sql("SET GLOBAL rpl_semi_sync_slave_enabled = 1;\nSTOP SLAVE IO_THREAD;\nSTART SLAVE IO_THREAD")
        primary = self.nodes[0]
        primary.sql("SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'")
        primary.sql("SET GLOBAL rpl_semi_sync_master_timeout = 600000")
        primary.sql("SET GLOBAL rpl_semi_sync_master_wait_no_slave = 0")
        primary.sql("SET GLOBAL rpl_semi_sync_master_enabled = 1")
        primary.configure(rpl_semi_sync_slave_enabled="ON")  # from its next start
        asked = "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'"
        eventually("both replicas are waited for", lambda: primary.sql(asked)[0][1] == "2")

    def mark(self, plan: FailoverPlan) -> None:
        """What a process that carries out a plan has written down before it orders anything."""
        with self.provider() as provider:
            assert isinstance(provider, SqlProvider)
            provider.prepare_probe()
            with provider.probe.open(Place.parse(plan.primary)) as connection:
                provider.tables.mark(connection, Place.parse(plan.primary), Place.parse(plan.candidate))
        for node in self.nodes[1:]:
            self.nodes[0].wait_for(node)

    @contextmanager
    def stuck(self, replica: int) -> Iterator[None]:
        """A replica receives all, and lacks a row that it can apply only afterwards, whatever clients write."""
        origin, other = self.nodes[0], self.nodes[replica]
        origin.sql("CREATE DATABASE IF NOT EXISTS held;\nCREATE TABLE IF NOT EXISTS held.here (i INT)")
        origin.wait_for(other)
        with closing(other.connect()) as holding, holding.cursor() as cursor:
            cursor.execute("LOCK TABLES held.here WRITE")
            origin.sql("INSERT INTO held.here VALUES (1)")
            yield

    def await_received(self, number: int) -> None:
        """Until one that receives nothing more has applied all that it did."""

        def applied() -> bool:
            with self.nodes[number].connect() as connection:
                following = self.words.ask(connection).following
                return following is not None and self.words.come_to(connection, following.received, 1)

        eventually("it has applied what it received", applied)

    def rows(self, number: int) -> set[tuple[int, int]]:
        """What clients have written, as a node has it."""
        return {(int(a), int(b)) for a, b in self.nodes[number].sql(f"SELECT client, seq FROM {SCHEMA}.writes_{RUN}")}

    def restart_the_dead(self, number: int) -> None:
        """As a supervisor does, with a configuration that lets it take no writes by itself."""
        node = self.nodes[number]
        node.configure(read_only="ON")
        node.start()

    def read_only(self) -> list[bool]:
        """Of each."""
        return [node.sql("SELECT @@read_only") == [(1,)] for node in self.nodes]

    def leftovers(self) -> list[str]:
        """Schemas of the probe, by node."""
        there = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{SCHEMA}'"
        return [self.name(number) for number, node in enumerate(self.nodes) if node.sql(there)]
