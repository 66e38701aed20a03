"""Three servers of MySQL in one replication group, each on a loopback address of its own. The group moves its primary;
so tests ask who that is, and leave the group whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from databosun.api.failover import ProviderTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.failover.groupguards import MOVE_GRANTS
from databosun.engines.mysql.failover.guards import PROBE_GRANTS
from support.failoverjob import LONG
from support.mariafailover import HOSTS, MOVER, MOVER_PASSWORD, PROBE, PROBE_PASSWORD, SCHEMA, MariaFailoverYard
from support.mariaserver import MariaServer
from support.mysqlserver import MySQLServer, new_server, plugins
from support.pgserver import free_port
from support.waiting import eventually

_PATIENT_SECONDS = 120
_NAME = "6d6f7665-7072-4696-8d61-727920213121"
MEMBERS = "SELECT MEMBER_STATE FROM performance_schema.replication_group_members"
_OWN_STATE = f"{MEMBERS} WHERE MEMBER_ID = @@server_uuid"
ROLE = "SELECT MEMBER_ROLE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid"
_SETTINGS = {
    "performance-schema": "ON",
    "log-replica-updates": "ON",
    "innodb-flush-log-at-trx-commit": "2",
    "plugin-load": "group_replication.so",
    "loose-group-replication-group-name": _NAME,
    "loose-group-replication-bootstrap-group": "OFF",
    "loose-group-replication-ip-allowlist": "127.0.0.0/8",
    "loose-group-replication-recovery-get-public-key": "ON",
    "loose-group-replication-message-cache-size": "134217728",
    # On a busy machine one may well say nothing for seconds, and is not to be given up for that.
    "loose-group-replication-member-expel-timeout": str(_PATIENT_SECONDS),
}


@dataclass
class MySQLGroup(MariaFailoverYard):
    """Groups talk on 127.0.0.1 alone: a member must find its own address on an interface."""

    engine: ClassVar[EngineName] = EngineName.MYSQL
    by_replication: ClassVar[ProviderTarget] = ProviderTarget(provider="GroupReplication")

    def start(self) -> None:
        """Until all are in the group."""
        talking = [f"127.0.0.1:{free_port()}" for _ in HOSTS]
        for number, host in enumerate(HOSTS, start=1):
            own = {
                "plugin-dir": str(plugins()), "bind-address": host, "report-host": host, "server-id": str(number),
                "loose-group-replication-local-address": talking[number - 1],
                "loose-group-replication-group-seeds": ",".join(talking),
                "loose-group-replication-start-on-boot": "OFF",
            }  # fmt: skip
            node = MySQLServer(settings={**_SETTINGS, **own}, origin=new_server())
            node.port = self.nodes[0].port if self.nodes else node.port
            self.nodes.append(node)
            node.init()
            node.start()
            node.sql(
                "SET SQL_LOG_BIN = 0;\nCREATE USER repl@'%' IDENTIFIED BY 'r';\n"
                "GRANT REPLICATION SLAVE ON *.* TO repl@'%'"
            )
            self.let_in(node, "r")
            node.sql(f"SET GLOBAL group_replication_bootstrap_group = {'ON' if number == 1 else 'OFF'};\n"
                     "START GROUP_REPLICATION;\nSET GLOBAL group_replication_bootstrap_group = OFF")  # fmt: skip
            node.configure(loose_group_replication_start_on_boot="ON")
        self.whole()
        self.make_logins()

    def make_logins(self) -> None:
        """At the primary, which tells the others."""
        primary = self.nodes[self.leader]
        primary.sql(f"CREATE USER {PROBE}@'%' IDENTIFIED BY '{PROBE_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(PROBE_GRANTS)} ON `{SCHEMA}`.* TO {PROBE}@'%'")
        primary.sql(f"CREATE USER {MOVER}@'%' IDENTIFIED BY '{MOVER_PASSWORD}'")
        primary.sql(f"GRANT {', '.join(MOVE_GRANTS)} ON *.* TO {MOVER}@'%'")
        primary.sql(f"GRANT SELECT ON performance_schema.* TO {MOVER}@'%'")
        self.level()

    def level(self) -> None:
        """Until all have what the primary has."""
        for node in self.nodes:
            self.nodes[self.leader].wait_for(node)

    def mend(self) -> None:
        """Whatever a test has left: each member runs, may be let in, and asks for it."""
        for node in self.nodes:
            if not node.runs:
                node.start()
            if node.sql(_OWN_STATE) != [("ONLINE",)]:
                node.sql("STOP GROUP_REPLICATION")
                self.let_in(node, "r")
                node.sql("START GROUP_REPLICATION")
        self.be_patient(_PATIENT_SECONDS)
        self.whole()

    def be_patient(self, seconds: int) -> None:
        """How long one that says nothing is waited for, beyond five seconds."""
        for node in self.nodes:
            node.sql(f"SET GLOBAL group_replication_member_expel_timeout = {seconds}")

    def let_in(self, node: MariaServer, password: str) -> None:
        """By what password it gets what it missed."""
        node.sql(
            f"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = '{password}' "
            "FOR CHANNEL 'group_replication_recovery'"
        )

    def whole(self) -> None:
        """Until each member has all of them at work."""
        online = [("ONLINE",)] * len(HOSTS)
        eventually("the group is whole", lambda: all(node.sql(MEMBERS) == online for node in self.nodes), LONG)

    @property
    def leader(self) -> int:
        """Who is primary."""
        (found,) = [number for number, node in enumerate(self.nodes) if node.sql(ROLE) == [("PRIMARY",)]]
        return found

    @property
    def led(self) -> list[int]:
        """The others."""
        return [number for number in range(len(self.nodes)) if number != self.leader]
