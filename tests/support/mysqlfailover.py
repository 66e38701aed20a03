"""A primary and two replicas of MySQL, made anew between tests rather than started anew: that takes a second."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.failover import ProviderTarget
from databosun.api.v1alpha1.database import EngineName
from support.mariafailover import HOSTS, MariaFailoverYard
from support.mysqlserver import MySQLServer, new_server, plugins
from support.waiting import eventually

_SETTINGS = {
    "log-replica-updates": "ON",
    "server-id": "1",
    "innodb-flush-log-at-trx-commit": "2",  # what a killed server had committed is there when it is back
    "plugin-load": "semisync_source.so;semisync_replica.so",
}
_OWN = "('mysql', 'sys', 'information_schema', 'performance_schema')"
_OTHERS = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {_OWN}"


@dataclass
class MySQLFailoverYard(MariaFailoverYard):
    """The same, of MySQL."""

    engine = EngineName.MYSQL
    by_replication = ProviderTarget(provider="MySQLReplication")
    stopped = "STATE LIKE 'Waiting for %lock'"

    def start(self) -> None:
        """The first node is the primary."""
        for number, host in enumerate(HOSTS, start=1):
            settings = {**_SETTINGS, "plugin-dir": str(plugins()), "bind-address": host, "server-id": str(number)}
            node = MySQLServer(settings=settings, origin=new_server())
            node.port = self.nodes[0].port if self.nodes else node.port
            self.nodes.append(node)
            node.init()
            node.start()
        self.reset()

    def reset(self) -> None:
        """As after the start, whatever a test has left."""
        for node in self.nodes:
            node.configure(read_only="OFF")  # a test may have had it started again otherwise
            if not node.runs:
                node.start()
            node.sql("STOP REPLICA;\nRESET REPLICA ALL;\nSET GLOBAL read_only = 0;\nSET GLOBAL gtid_mode = 'ON'")
            node.sql("SET GLOBAL rpl_semi_sync_source_enabled = 0;\nSET GLOBAL rpl_semi_sync_replica_enabled = 0")
            node.sql("DROP USER IF EXISTS probe@'%', mover@'%', follower@'%', repl@'127.0.0.1'")
            for (schema,) in node.sql(_OTHERS):
                node.sql(f"DROP DATABASE `{schema}`")
            node.sql("RESET BINARY LOGS AND GTIDS")
        for node in self.nodes[1:]:
            node.sql("SET GLOBAL read_only = 1")  # so that root may lock tables there
            self.nodes[0].lead(node)
        self.make_logins()

    def demand_two(self) -> None:
        """A commit is acknowledged once a replica has it, too (semi-synchronous)."""
        for node in self.nodes[1:]:
            node.sql("SET GLOBAL rpl_semi_sync_replica_enabled = 1;\nSTOP REPLICA IO_THREAD;\nSTART REPLICA IO_THREAD")
        primary = self.nodes[0]
        primary.sql("SET GLOBAL rpl_semi_sync_source_timeout = 600000")  # and else is not acknowledged at all
        primary.sql("SET GLOBAL rpl_semi_sync_source_enabled = 1")
        asked = "SHOW STATUS LIKE 'Rpl_semi_sync_source_clients'"
        eventually("both replicas are waited for", lambda: primary.sql(asked)[0][1] == "2")

    def origin_of(self, number: int) -> str:
        """What its own transactions begin with."""
        return str(self.nodes[number].sql("SELECT @@server_uuid")[0][0])
